"""What a run keeps of its test images for a report."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from search.data.dataset import Subset
from search.results.evaluate import Evaluation, evaluate
from search.results.report_material import (
    FOLDER,
    Picture,
    choose_pictures,
    decoded_picture,
    occlusion_map,
    read_report_material,
    write_report_material,
)


def _evaluation(labels: list[int], predictions: list[int], confidences: list[float]) -> Evaluation:
    stored: dict[str, Any] = dict.fromkeys(
        ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision"), 0.0
    )
    average = {"name": "", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    evaluation = Evaluation.from_metrics(
        {
            **stored,
            "images": len(labels),
            "per_class": [],
            "macro_average": average,
            "weighted_average": average,
            "confusion_matrix": [],
        }
    )
    found = vars(evaluation) | {
        "labels": np.array(labels),
        "predictions": np.array(predictions),
        "confidences": np.array(confidences, dtype=np.float32),
    }
    return Evaluation(**found)


def test_pictures_are_confident_mistakes_and_typical_and_unsure_hits() -> None:
    evaluation = _evaluation(
        labels=[0, 0, 0, 1, 1, 1, 1],
        predictions=[0, 0, 0, 1, 1, 0, 0],
        confidences=[0.9, 0.8, 0.7, 0.95, 0.6, 0.5, 0.99],
    )

    assert choose_pictures(evaluation) == [
        ("mistake", 6),
        ("mistake", 5),
        ("typical", 1),  # of class 0 the middle one
        ("typical", 4),
        ("unsure", 2),
        ("unsure", 0),
        ("unsure", 3),
    ]


def test_of_many_classes_some_are_typical() -> None:
    labels = list(range(100))
    chosen = choose_pictures(_evaluation(labels, labels, [0.9] * 100))

    assert [position for group, position in chosen if group == "typical"] == [
        0, 14, 28, 42, 56, 70, 84, 99,
    ]  # fmt: skip


def test_only_mistakes_or_nothing_at_all() -> None:
    assert choose_pictures(_evaluation([0], [1], [0.9])) == [("mistake", 0)]


def test_the_map_shows_where_the_object_is() -> None:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[20:28, 4:12] = 255

    def network(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        # Sure of class 1 while the bright square at the bottom left stands out.
        bright = images[:, 21:27, 5:11].mean(axis=(1, 2, 3)) / 255
        subset = (0.05 + 0.9 * bright).astype(np.float32)
        return np.stack([1 - subset, subset], axis=1)

    found = occlusion_map(network, image, 1)

    assert found is not None
    heat, covered = found
    assert heat.shape == (32, 32)
    assert heat.max() == pytest.approx(1)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 18 <= row <= 29
    assert 2 <= column <= 14
    assert heat[:12].max() < 0.2
    assert covered < 0.9


def test_no_map_where_nothing_matters() -> None:
    image = np.full((16, 16, 3), 100, dtype=np.uint8)

    def network(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.tile(np.array([0.2, 0.8], dtype=np.float32), (len(images), 1))

    assert occlusion_map(network, image, 1) is None


def test_a_map_of_a_certain_answer_is_not_lost_in_rounding() -> None:
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:, 8:] = 255

    def network(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        contrast = images[:, :, 12:].mean(axis=(1, 2, 3)) - images[:, :, :4].mean(axis=(1, 2, 3))
        logits = np.stack([-contrast / 8, contrast / 8], axis=1)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        subsets = exponentials / exponentials.sum(axis=1, keepdims=True)
        return np.asarray(subsets, dtype=np.float32)

    assert network(image[None])[0, 1] == 1.0
    assert occlusion_map(network, image, 1) is not None


@pytest.fixture
def subset() -> Subset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 96, 80, 3)).astype(np.uint8)
    labels = np.arange(20) % 2
    return Subset(images, labels, np.arange(20), tuple(f"f\x1b{n}.png" for n in range(20)))


@pytest.fixture
def model() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    images = keras.Input((96, 80, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(x)
    return keras.Model(images, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))


def test_the_material_is_written_and_read_back(tmp_path: Path, model: Any, subset: Subset) -> None:
    evaluation = evaluate(model, subset, ("a", "b"))
    written = write_report_material(tmp_path, model, evaluation, subset)

    assert read_report_material(tmp_path) == written
    # 3x3 kernels over RGB into 4 channels at 24x20 positions, then 2 classes of all of them.
    positions = 24 * 20
    assert written.inference.multiply_accumulates == 27 * 4 * positions + 2 * 4 * positions
    assert written.inference.batch == 20
    assert written.inference.single_seconds > 0
    assert len(written.pictures) == len({picture.file for picture in written.pictures})
    for picture in written.pictures:
        assert "\x1b" not in picture.source
        assert decoded_picture(tmp_path, picture.file).shape == (96, 80, 3)
        assert sum(answer.probability for answer in picture.answers) == pytest.approx(1, abs=1e-5)
        if picture.map is not None:
            assert decoded_picture(tmp_path, picture.map.file).shape == (96, 80)
    assert any(picture.map for picture in written.pictures)


def test_without_time_there_are_no_maps(tmp_path: Path, model: Any, subset: Subset) -> None:
    evaluation = evaluate(model, subset, ("a", "b"))
    written = write_report_material(tmp_path, model, evaluation, subset, seconds=0)

    assert written.pictures
    assert [picture.map for picture in written.pictures if picture.map] == []


def test_a_run_of_before_left_nothing(tmp_path: Path) -> None:
    assert read_report_material(tmp_path) is None
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "a/b.png", "..", ""])
def test_a_picture_lies_in_its_folder(file: str) -> None:
    with pytest.raises(ValidationError):
        Picture(file=file, group="mistake", source="x", true=0, answers=())
