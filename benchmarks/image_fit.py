"""Compares crop, pad and stretch for photos of varied shape, at the same number of pixels.

    python -m benchmarks.image_fit signs path/to/sign-digits --steps 300
    python -m benchmarks.image_fit cifar10 path/to/cifar10 --images 4000 --steps 400

Square images become elongated in two ways, with aspect ratios from 1:2 to 2:1. "scene": the image
is near the middle of a wider or higher scene, like the subject of a photo. "window": only an
elongated window at a random place in the image remains, so that every part of it may matter.
Each fit makes them square again, as `--fit` does, and a small network is trained for the same
number of steps. It is evaluated on validation images; test images are not used. Rows are written to
benchmarks/results/image_fit.json, where a new row replaces an older one with the same key.
"""

from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.kept_rows import keep_row
from search.data import load_data, split_data
from search.data.dataset import Subset
from search.data.decoding import resize
from search.data.image_fit import Fit
from search.data.types import Images
from search.system.runtime import start_keras

RESULTS = Path(__file__).parent / "results" / "image_fit.json"
WAYS = ("scene", "window")
_ASPECTS = (1 / 2, 2 / 3, 1.0, 3 / 2, 2.0)
# The position in the free space; 0.5 is the middle.
_PLACE, _PLACE_DEVIATION = 0.5, 0.15
_BATCH = 64
_FILTERS = (16, 32, 48)


def main(
    name: Annotated[str, typer.Argument(help="The name of the set in the rows.")],
    data: Annotated[str, typer.Argument(help="An image folder, or the name of a known set.")],
    image_size: Annotated[int, typer.Option(help="The side of the squares, in pixels.")] = 32,
    images: Annotated[int | None, typer.Option(help="Training and validation images.")] = None,
    steps: int = 300,
    seeds: str = "0,1",
) -> None:
    """Trains on one set in both ways with every fit, and writes a row for each."""
    for seed in map(int, seeds.split(",")):
        dataset = load_data(data, image_size=image_size)
        split = split_data(dataset, seed=seed, validation_fraction=0.25)
        if images is not None:
            split = split.with_fewer_images(images)
        for way in WAYS:
            for fit in get_args(Fit):
                parts = [
                    _reshaped(subset, way, fit, np.random.default_rng([seed, number]))
                    for number, subset in enumerate((split.train, split.validation))
                ]
                accuracy = _accuracy(*parts, steps=steps, seed=seed)
                row = {"set": name, "way": way, "fit": fit, "seed": seed, "steps": steps}
                row |= {"image_size": image_size, "images": len(split.train)}
                keep_row(RESULTS, row | {"validation_accuracy": round(accuracy, 4)}, key=list(row))


def _reshaped(
    subset: Subset, way: str, fit: Fit, generator: np.random.Generator
) -> tuple[Images, npt.NDArray[np.int64]]:
    images, labels = subset.gather(slice(None))
    size = images.shape[1], images.shape[2]
    return np.stack([resize(elongated(i, way, generator), size, fit) for i in images]), labels


def elongated(image: Images, way: str, generator: np.random.Generator) -> Images:
    """Returns an elongated image made from a square one (side, side, 3)."""
    side = len(image)
    aspect = float(generator.choice(_ASPECTS))
    if aspect < 1:
        return elongated_to(image.swapaxes(0, 1), way, round(side / aspect), generator).swapaxes(
            0, 1
        )
    return elongated_to(image, way, round(side * aspect), generator)


def elongated_to(image: Images, way: str, width: int, generator: np.random.Generator) -> Images:
    """Returns a landscape image of `width` and the image's height, or a window of that shape."""
    side = len(image)
    place = float(generator.normal(_PLACE, _PLACE_DEVIATION))
    if way == "scene":
        free = width - side
        before = round(free * min(max(place, 0.0), 1.0))
        return np.pad(image, ((0, 0), (before, free - before), (0, 0)), mode="reflect")
    height = round(side * side / width)
    top = int(generator.integers(0, side - height + 1))
    return image[top : top + height]


def _accuracy(
    train: tuple[Images, npt.NDArray[np.int64]],
    validation: tuple[Images, npt.NDArray[np.int64]],
    *,
    steps: int,
    seed: int,
) -> float:
    """Returns the validation accuracy of a small network after `steps` steps."""
    start_keras()
    import keras

    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input(train[0].shape[1:]), keras.layers.Rescaling(1 / 255)])
    for filters in _FILTERS:
        network.add(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False))
        network.add(keras.layers.BatchNormalization(momentum=0.9))
        network.add(keras.layers.ReLU())
        network.add(keras.layers.MaxPooling2D())
    network.add(keras.layers.GlobalAveragePooling2D())
    network.add(keras.layers.Dense(int(train[1].max()) + 1))
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.003, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    generator = np.random.default_rng(seed)
    images, labels = train
    rows: list[int] = []
    for _ in range(steps):
        if len(rows) < _BATCH:
            rows = generator.permutation(len(images)).tolist()
        batch, rows = rows[:_BATCH], rows[_BATCH:]
        network.train_on_batch(images[batch], labels[batch])
    logits = [
        network.predict_on_batch(validation[0][start : start + 256])
        for start in range(0, len(validation[0]), 256)
    ]
    return float((np.concatenate(logits).argmax(axis=1) == validation[1]).mean())


if __name__ == "__main__":
    typer.run(main)
