"""Pretrained backbones: a study of them, its winner, and the benefit of transfer."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.errors import UserError
from cnn_blocks.heads.pooled import Pooled
from search.data import Decoding, Subset
from search.optimize.winner import load_stored_study
from search.pipeline import run_study
from search.results.configuration_file import read_configuration
from search.results.exported_model import save_model
from search.training import FitResult, fit
from spaces.candidate import Candidate, FineTuning, TrainingConfig
from spaces.stages import staged
from spaces.suggest import Trial
from studies.study import LoadedStudy, StudySpec, load_study
from tests.support.attributes import candidate_of

HOMEBREW = (0, 1, 2, 3, 4)
OTHERS = (5, 6, 7, 8, 9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Saves a tiny network with two stages for 16x16 pixels."""
    import keras
    from keras import layers

    parts = [
        keras.Input((16, 16, 3)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.BatchNormalization(),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
    ]
    path = tmp_path / "tiny.keras"
    keras.Sequential(parts).save(path)
    return path


def tiny_transfer(trial: Trial, *, backbones: Any = ()) -> Candidate:
    """Suggests the number of trainable stages for training in two phases."""
    depth = trial.suggest_int("trainable_stages", 1, 2)
    return Candidate(
        model=ModelConfig(
            preprocessing="none",
            input_size=16,
            backbone=backbones[0].with_trainable(depth),
            head=Pooled(),
        ),
        training=TrainingConfig(batch_size=128, learning_rate=0.01, fine_tuning=FineTuning()),
    )


def test_a_users_keras_file_is_searched_retrained_and_exported(file: Path, tmp_path: Path) -> None:
    import keras

    spec = StudySpec(
        name="tiny",
        description="Trainable depth.",
        space=tiny_transfer,
        data="digits",
        trials=2,
        epochs=2,
        retrain_epochs=3,
        reports_per_epoch=1,
        backbones=(KerasFile(path=str(file)),),
    )
    options: dict[str, Any] = {
        "storage": f"sqlite:///{tmp_path / 'studies.db'}",
        "places": tmp_path / "runs",
    }

    result = run_study(spec, **options)

    # In half of each training only the head trains, which pruners do not see.
    study = load_stored_study("tiny", storage=options["storage"])
    assert [list(trial.intermediate_values) for trial in study.trials] == [[2], [2]]
    stored = json.loads(candidate_of(study.trials[0]))["model"]["backbone"]
    assert (stored["path"], len(stored["sha256"])) == (str(file), 64)
    configuration = read_configuration(result.directory / "best_config.yaml")
    assert configuration.candidate == result.candidate
    exported = keras.models.load_model(result.directory / "model.keras", safe_mode=True)
    images = np.zeros((1, *result.split.dataset.image_shape), np.uint8)
    np.testing.assert_allclose(exported(images), result.model(images), atol=1e-6)

    # Another backbone changes the study.
    with pytest.raises(UserError, match="the search space"):
        run_study(LoadedStudy(spec, None).with_backbones([f"{file}=none"]), **options)


def test_an_unavailable_backbone_stops_the_run_before_the_first_trial(
    file: Path, tmp_path: Path
) -> None:
    spec = StudySpec(
        name="tiny",
        description="Trainable depth.",
        space=tiny_transfer,
        data="digits",
        backbones=(KerasFile(path=str(file)),),
    )
    file.write_bytes(b"changed")

    storage = f"sqlite:///{tmp_path / 'studies.db'}"

    with pytest.raises(UserError, match="must be the one that the configuration was created with"):
        run_study(spec, storage=storage, places=tmp_path / "runs")

    with pytest.raises(UserError, match="none yet"):
        load_stored_study("tiny", storage=storage)


def test_only_transfer_studies_take_a_backbone(file: Path) -> None:
    changed = load_study("fine_tune").with_backbones([str(file), "VGG16=none"])

    assert [backbone.kind for backbone in changed.spec.backbones] == [
        "keras_file",
        "keras_application",
    ]
    with pytest.raises(UserError, match=r"fine_tune, .*'depth_filters' builds its own"):
        load_study("depth_filters").with_backbones([str(file)])


@pytest.mark.slow
def test_features_learnt_on_some_classes_help_with_others(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "cifar10-jpeg.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no real images: {archive} is not a file")
    images, labels = _some_of_each_class(archive, count=400)
    network = ModelConfig(
        backbone=staged(
            Plain(),
            filters=[32, 64, 64],
            depth=1,
            reduction="max",
            place="first",
            dropout=[0.0, 0.0, 0.0],
        ),
        head=Pooled(pooling="average"),
    )
    training = TrainingConfig(
        epochs=12, batch_size=64, optimizer="sgd", learning_rate=0.1, schedule="one_cycle"
    )
    homebrew, _ = _shares(images, labels, HOMEBREW, train=400)
    learnt = fit(Candidate(model=network, training=training), homebrew, spec=_spec(), seed=0)
    path = tmp_path / "exported.keras"
    decoding = Decoding(size=(32, 32), fit="crop")
    save_model(path, learnt.model, [str(number) for number in HOMEBREW], decoding)

    few, validation = _shares(images, labels, OTHERS, train=100)

    def transfer(weights: str) -> float:
        backbone = KerasFile.model_validate({"path": str(path), "weights": weights})
        candidate = Candidate(
            model=ModelConfig(
                preprocessing="none", backbone=backbone, head=Pooled(pooling="average_max")
            ),
            training=TrainingConfig(epochs=20, batch_size=50, learning_rate=0.01),
        )
        result: FitResult = fit(candidate, few, spec=_spec(), validation=validation, seed=0)
        return result.history[-1]["val_accuracy"]

    learnt_accuracy, random_accuracy = transfer("file"), transfer("none")
    assert learnt_accuracy > random_accuracy + 0.05


def _spec() -> Any:
    from cnn_blocks.config import InputSpec

    return InputSpec(image_shape=(32, 32, 3), class_names=tuple("abcde"))


def _some_of_each_class(archive: Path, *, count: int) -> tuple[Any, Any]:
    from PIL import Image

    images, labels = [], []
    names: dict[str, int] = {}
    with tarfile.open(archive, "r|xz") as file:
        for member in file:
            parts = Path(member.name).parts
            if member.isfile() and "train" in parts and int(Path(member.name).stem) < count:
                content = file.extractfile(member)
                assert content is not None
                images.append(np.asarray(Image.open(io.BytesIO(content.read())).convert("RGB")))
                labels.append(names.setdefault(parts[-2], len(names)))
    return np.stack(images), np.array(labels, dtype=np.int64)


def _shares(
    images: Any, labels: Any, classes: tuple[int, ...], *, train: int
) -> tuple[Subset, Subset]:
    """Returns the first `train` images of some classes, and up to 200 more of each."""
    known = np.where(np.isin(labels, classes), labels - classes[0], 0)
    rows = [np.flatnonzero(labels == number) for number in classes]
    first = np.concatenate([found[:train] for found in rows])
    others = np.concatenate([found[train : train + 200] for found in rows])
    return Subset(images, known, first), Subset(images, known, others)
