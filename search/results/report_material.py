"""Pictures of test images and the model's speed, saved by the evaluation for a report.

A run opens its test images once, but a report can be written at any later time. So the evaluation
saves the few pictures that a report shows, in a folder next to the other results.

The maps come from occlusion: a region of the image is blurred, and the map shows how much the
odds of the predicted class fall. Unlike Grad-CAM this needs no gradients and no particular layer,
so the same code works for every network and every backend.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cnn_blocks.config import Configuration
from search.system.files import whole_file, write_text
from search.system.names import shown

if TYPE_CHECKING:
    import keras

    from search.data import Subset
    from search.results.evaluate import Evaluation

FOLDER = "report_material"
MATERIAL = "material.json"

# A file name in the folder, never a path out of it.
FileName: TypeAlias = Annotated[str, Field(pattern=r"^\w[\w.]*$")]
Group: TypeAlias = Literal["mistake", "typical", "unsure"]
Image: TypeAlias = npt.NDArray[np.uint8]
Heat: TypeAlias = npt.NDArray[np.float32]
Predict: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

_MOST: dict[Group, int] = {"mistake": 12, "typical": 8, "unsure": 4}
_ANSWERS = 3
_MOST_MAPS = 8
# The page would shrink larger pictures anyway.
_LONGEST_SIDE = 128
_LOSSLESS_SIDE = 64
_SECONDS = 6.0
_BATCH = 64
_CHUNK = 32
_MOST_CALLS = 30
_FEWEST_CALLS = 3
_WINDOWS = 8  # per side
# As a share of the image's side; neighbouring windows overlap.
_WINDOW_DEVIATION = 0.11
_BLUR = 0.2
# In log-odds. A smaller fall is noise, because any change to an image causes one.
_LEAST_FALL = 0.1
# Avoids log(0). It is smaller than the other classes' float32 probabilities for a certain answer.
_TINY = 1e-30


class Answer(Configuration):
    """A class (the number of its output) and the probability that the model gives it."""

    label: NonNegativeInt
    probability: NonNegativeFloat


class OcclusionMap(Configuration):
    """A map of the regions of an image that support the predicted class.

    `file` is a grey picture of the thumbnail's size, white where blurring lowers the odds most.
    `covered` is the predicted class's probability with the most important region blurred.
    """

    file: FileName
    covered: NonNegativeFloat


class Picture(Configuration):
    """A test image in a report: a thumbnail, the true class and the likeliest answers.

    `source` is the file in the data set, or the row of an array.
    """

    file: FileName
    group: Group
    source: str
    true: NonNegativeInt
    answers: tuple[Answer, ...]
    map: OcclusionMap | None = None


class Inference(Configuration):
    """The speed of the exported model on the machine of the run, in seconds per call."""

    device: str
    single_seconds: PositiveFloat
    batch: PositiveInt
    batch_seconds: PositiveFloat
    multiply_accumulates: NonNegativeInt


class ReportMaterial(Configuration):
    """The content of the folder, with pictures in the order of the report."""

    format_version: Literal[1] = 1
    inference: Inference
    pictures: tuple[Picture, ...]


def write_report_material(
    directory: str | Path,
    model: "keras.Model",
    evaluation: "Evaluation",
    test: "Subset",
    *,
    seconds: float = _SECONDS,
) -> ReportMaterial:
    """Writes thumbnails, occlusion maps and the model's speed into a folder below `directory`.

    Call it while the final evaluation has the `test` images open. No map starts after `seconds`.
    """
    folder = Path(directory) / FOLDER
    deadline = time.monotonic() + seconds
    images, _ = test.gather(np.arange(min(_BATCH, len(test))))
    inference = measure_inference(model, images)
    chosen = choose_pictures(evaluation)
    pictures = list(_write_thumbnails(folder, model, evaluation, test, chosen))
    positions = [position for _, position in chosen]
    for index in _mapped(pictures):
        if time.monotonic() > deadline:
            break
        (image,), _ = test.gather(np.array([positions[index]]))
        found = occlusion_map(model.predict_on_batch, image, pictures[index].answers[0].label)
        if found is None:
            continue
        heat, covered = found
        name = f"{Path(pictures[index].file).stem}_map.png"
        _save(folder / name, np.rint(heat * 255).astype(np.uint8))
        seen = OcclusionMap(file=name, covered=covered)
        pictures[index] = pictures[index].model_copy(update={"map": seen})
    material = ReportMaterial(inference=inference, pictures=tuple(pictures))
    write_text(folder / MATERIAL, material.model_dump_json(indent=2))
    return material


def choose_pictures(evaluation: "Evaluation") -> list[tuple[Group, int]]:
    """Returns which test images a report shows, as positions within the subset.

    These are the most confident mistakes, the correct answer with median confidence for some
    classes, and the least confident correct answers.
    """
    wrong = evaluation.predictions != evaluation.labels
    surest = np.argsort(-evaluation.confidences, kind="stable")
    mistakes = surest[wrong[surest]][: _MOST["mistake"]]
    right = surest[~wrong[surest]]
    classes = np.unique(evaluation.labels[right])
    if len(classes) > _MOST["typical"]:
        classes = classes[np.linspace(0, len(classes) - 1, _MOST["typical"]).astype(int)]
    typical = []
    for label in classes:
        members = right[evaluation.labels[right] == label]
        typical.append(int(members[len(members) // 2]))
    unsure = [position for position in right[::-1].tolist() if position not in typical]
    groups: dict[Group, list[int]] = {
        "mistake": mistakes.tolist(),
        "typical": typical,
        "unsure": unsure[: _MOST["unsure"]],
    }
    return [(group, position) for group, found in groups.items() for position in found]


def measure_inference(model: "keras.Model", images: Image) -> Inference:
    """Times the model on one image and on all `images` at once: medians of several calls."""
    from cnn_blocks.work import layer_calls
    from search.system.runtime import device_kind

    calls = list(layer_calls(model))
    return Inference(
        device=device_kind(),
        single_seconds=_median_seconds(model, images[:1]),
        batch=len(images),
        batch_seconds=_median_seconds(model, images),
        multiply_accumulates=sum(call.work.multiply_accumulates for call in calls),
    )


def occlusion_map(predict: Predict, image: Image, label: int) -> tuple[Heat, float] | None:
    """Returns a map of the regions of an image (H, W, 3) that support a class.

    The map (H, W) is 1 where blurring lowers the log-odds of the class most, 0 where it does not
    lower them. The second value is the probability with the most important region blurred. None if
    no region matters.
    """
    height, width, _ = image.shape
    windows = _windows(height, width)
    change = _blurred(image).astype(np.float32) - image
    outputs = [predict(image[None])]
    for start in range(0, len(windows), _CHUNK):
        covered = image + windows[start : start + _CHUNK, :, :, None] * change
        outputs.append(predict(np.rint(covered).astype(np.uint8)))
    probabilities = np.concatenate(outputs).astype(np.float64)
    others = np.delete(probabilities, label, axis=1).sum(axis=1)
    odds = np.log(probabilities[:, label] + _TINY) - np.log(others + _TINY)
    falls = np.maximum(odds[0] - odds[1:], 0.0)
    if falls.max() < _LEAST_FALL:
        return None
    heat = np.tensordot(falls, windows, axes=1) / windows.sum(axis=0)
    return (heat / heat.max()).astype(np.float32), float(probabilities[1 + falls.argmax(), label])


def _windows(height: int, width: int) -> Heat:
    """Returns soft windows (n, H, W) whose centres form a grid over the image."""
    centres = (np.arange(_WINDOWS) + 0.5) / _WINDOWS
    rows, columns = (
        np.exp(-((((np.arange(size) + 0.5) / size - centres[:, None]) / _WINDOW_DEVIATION) ** 2))
        for size in (height, width)
    )
    windows = rows[:, None, :, None] * columns[None, :, None, :]
    return windows.reshape(-1, height, width).astype(np.float32)


def _blurred(image: Image) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageFilter

    radius = _BLUR * min(image.shape[:2])
    return np.asarray(Pillow.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _mapped(pictures: Sequence[Picture]) -> list[int]:
    """Returns the pictures that get a map, alternating between mistakes and typical ones."""
    groups = [
        [index for index, picture in enumerate(pictures) if picture.group == group]
        for group in ("mistake", "typical")
    ]
    turns = sorted(
        (rank, number, index)
        for number, found in enumerate(groups)
        for rank, index in enumerate(found)
    )
    return [index for _, _, index in turns[:_MOST_MAPS]]


def _write_thumbnails(
    folder: Path,
    model: "keras.Model",
    evaluation: "Evaluation",
    test: "Subset",
    chosen: Sequence[tuple[Group, int]],
) -> Iterator[Picture]:
    if not chosen:
        return
    positions = np.array([position for _, position in chosen])
    images, labels = test.gather(positions)
    probabilities = model.predict_on_batch(images)
    for number, (group, position) in enumerate(chosen):
        row = int(test.indices[position])
        longest = max(images.shape[1:3])
        name = f"{number + 1:02d}_{group}.{'png' if longest <= _LOSSLESS_SIDE else 'jpg'}"
        _save(folder / name, images[number])
        best = np.argsort(-probabilities[number], kind="stable")[:_ANSWERS]
        yield Picture(
            file=name,
            group=group,
            source=str(row) if test.files is None else shown(test.files[row]),
            true=int(labels[number]),
            answers=tuple(
                Answer(label=int(label), probability=float(probabilities[number, label]))
                for label in best
            ),
        )


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(pixels)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Pillow.Resampling.LANCZOS)
    with whole_file(path) as temporary:
        picture.save(temporary, quality=90)  # for JPEG; PNG is lossless


def _median_seconds(model: "keras.Model", images: Image) -> float:
    seconds: list[float] = []
    model.predict_on_batch(images)  # the first call compiles
    began = time.perf_counter()
    while len(seconds) < _FEWEST_CALLS or (
        len(seconds) < _MOST_CALLS and time.perf_counter() - began < 1.0
    ):
        start = time.perf_counter()
        model.predict_on_batch(images)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def read_report_material(directory: Path) -> ReportMaterial | None:
    """Returns the report material in a run's folder; None if an older version wrote the run."""
    path = directory / FOLDER / MATERIAL
    if not path.is_file():
        return None
    return ReportMaterial.model_validate_json(path.read_text(encoding="utf-8"))


def decoded_picture(directory: Path, file: str) -> npt.NDArray[Any]:
    """Returns the pixels of a picture in a run's folder, (H, W, 3) or (H, W) uint8."""
    from PIL import Image as Pillow

    with Pillow.open(directory / FOLDER / file) as picture:
        return np.asarray(picture)
