"""Training heads on features of frozen backbones: computed once, and the same network."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.build import build_features, build_head, build_model
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from search.data import Split
from search.pipeline import run_study
from search.progress.clock import Clock
from search.progress.events import Event, Note, Progress
from search.system.runtime import Compute
from search.training import FitResult, fit
from search.training.features import source as features
from search.training.features.source import FeatureSource, HeadData
from search.training.metrics import classification_metrics
from spaces.candidate import Candidate, TrainingConfig
from spaces.suggest import Trial
from studies.study import StudySpec
from tests.support.attributes import candidate_of
from tests.support.listening import Listening

HEADS = {
    "average": Pooled(),
    "max": Pooled(pooling="max", dropout=0.2),
    "average_max": Pooled(
        pooling="average_max", layers=(DenseLayer(units=12, batch_normalization=True, l2=1e-4),)
    ),
    "flatten": Pooled(pooling="flatten", layers=(DenseLayer(units=8),)),
}


class Notes(Progress):
    """Records the notes for the user."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note):
            self.lines.append(event.text)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose batch normalisation has statistics far from its initial ones."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same")(layers.Rescaling(1 / 255)(images))
    x = layers.BatchNormalization(name="normalization")(x)
    x = layers.MaxPooling2D(2)(layers.Activation("relu")(x))
    x = layers.Conv2D(10, 3, padding="same", activation="relu", name="last")(x)
    model = keras.Model(images, x)
    normal = np.random.default_rng(0).normal
    model.get_layer("normalization").set_weights(
        [np.ones(6), np.zeros(6), normal(0, 0.2, 6), np.full(6, 0.05)]
    )
    path = tmp_path_factory.mktemp("network") / "network.keras"
    model.save(path)
    return path


Make = Callable[..., Candidate]


@pytest.fixture
def candidate(network: Path) -> Make:
    """Makes a candidate with the network as its backbone."""

    def make(
        head: Pooled | None = None, *, path: Path = network, backbone: Any = None, **training: Any
    ) -> Candidate:
        settings = {"epochs": 2, "batch_size": 128, "learning_rate": 0.02} | training
        return Candidate(
            model=ModelConfig(
                preprocessing="none",
                backbone=KerasFile.model_validate({"path": str(path), **(backbone or {})}),
                head=head or Pooled(),
            ),
            training=TrainingConfig(**settings),
        )

    return make


@pytest.fixture
def source(digits: Split, tmp_path: Path) -> FeatureSource:
    return FeatureSource(digits, cache_directory=tmp_path)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Records how many images each backbone processed to compute features."""
    counts: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        model = build_features(*arguments, **options)
        predict = model.predict_on_batch
        counts.append(0)

        def counting(images: Any) -> Any:
            counts[-1] += len(images)
            return predict(images)

        model.predict_on_batch = counting
        return model

    monkeypatch.setattr(features, "build_features", counted)
    return counts


def _find(source: FeatureSource, candidate: Candidate, split: Split) -> HeadData | None:
    return source.find(
        candidate, split.train, split.validation, spec=split.spec, seed=0, clock=Clock()
    )


def _fit(
    candidate: Candidate, split: Split, source: FeatureSource | None, **more: Any
) -> FitResult:
    return fit(
        candidate,
        split.train,
        spec=split.spec,
        validation=split.validation,
        seed=0,
        compute=Compute(precision="float32"),
        features=source,
        **more,
    )


@pytest.fixture
def no_whole_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `fit` fail if it builds more than a head."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a whole network was built")

    monkeypatch.setattr(sys.modules["search.training.fit"], "build_model", refuse)


def test_a_backbone_is_evaluated_once_for_all_heads_and_studies(
    candidate: Make,
    digits: Split,
    tmp_path: Path,
    evaluated: list[int],
    no_whole_networks: None,
) -> None:
    told = Notes()
    source = FeatureSource(digits, cache_directory=tmp_path, progress=told)
    clock = Clock()

    for name in ("average", "max", "average_max"):
        result = _fit(candidate(HEADS[name]), digits, source, clock=clock)
        assert result.history[-1]["loss"] < result.history[0]["loss"]

    assert evaluated == [len(digits.development)]
    assert clock.seconds["features"] > 0
    (note,) = told.lines
    images = len(digits.development)
    # The note says what is computed, how large it is, and where it is cached.
    assert f"{images:,} x 20 in {images * 40 / 2**20:,.1f} MiB under {tmp_path}" in note

    again = FeatureSource(digits, cache_directory=tmp_path)
    _fit(candidate(), digits, again)
    # The winner's retraining uses the same images.
    fit(candidate(), digits.development, spec=digits.development_spec, seed=0, features=again)
    assert evaluated == [images]

    # A head that flattens needs the maps themselves.
    _fit(candidate(HEADS["flatten"]), digits, again)
    assert evaluated == [images, images]


def test_maps_are_pooled_without_the_backbone(
    candidate: Make, digits: Split, source: FeatureSource, tmp_path: Path, evaluated: list[int]
) -> None:
    _find(source, candidate(HEADS["flatten"]), digits)
    pooled = _find(source, candidate(), digits)
    directly = _find(FeatureSource(digits, cache_directory=tmp_path / "b"), candidate(), digits)

    assert pooled is not None
    assert directly is not None
    assert len(evaluated) == 2  # the maps, and the other cache's
    first = np.arange(50)
    np.testing.assert_allclose(
        pooled.train.gather(first)[0], directly.train.gather(first)[0], rtol=2e-3
    )
    assert pooled.parameters == directly.parameters


@pytest.mark.parametrize("weights", ["file", "none"])
@pytest.mark.parametrize("head", HEADS)
def test_the_result_is_one_network_that_predicts_what_its_head_did(
    head: str, weights: str, candidate: Make, digits: Split, source: FeatureSource
) -> None:
    made = candidate(HEADS[head], backbone={"weights": weights})
    images, labels = digits.validation.gather(slice(None))

    result = _fit(made, digits, source)
    predicted = result.model.predict(images, verbose=0)

    found = _find(source, made, digits)
    assert found is not None
    assert found.validation is not None
    alone = build_head(made.model, digits.spec, found.shape)
    alone.set_weights(result.weights)
    described, _ = found.validation.gather(np.arange(len(found.validation)))
    np.testing.assert_allclose(predicted, alone.predict(described, verbose=0), atol=2e-3)
    loss = classification_metrics(predicted, labels)["loss"]
    assert loss == pytest.approx(result.history[-1]["val_loss"], abs=5e-3)
    whole = build_model(made.model, digits.spec, seed=0)
    assert result.parameters == whole.count_params() == result.model.count_params()
    # The backbone's weights are unchanged; the head has its own.
    kept = len(whole.weights) - len(result.weights)
    for before, after in zip(
        whole.get_weights()[:kept], result.model.get_weights()[:kept], strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert not np.allclose(whole.predict(images, verbose=0), predicted, atol=2e-3)


def test_a_head_learns_from_features_what_it_learns_from_images(
    candidate: Make, digits: Split, source: FeatureSource
) -> None:
    made = candidate(HEADS["average_max"], epochs=12)

    on_features, on_images = (_fit(made, digits, given) for given in (source, None))

    assert on_features.backbone_seed == 0
    assert on_images.backbone_seed is None
    reached = [result.history[-1]["val_accuracy"] for result in (on_features, on_images)]
    assert min(reached) > 0.5
    assert reached[0] == pytest.approx(reached[1], abs=0.1)


def test_a_heads_statistics_are_those_of_its_features(
    digits: Split, candidate: Make, source: FeatureSource
) -> None:
    import keras

    layer = DenseLayer(units=12, batch_normalization=True, dropout=0.5)
    made = candidate(Pooled(pooling="average_max", layers=(layer,)))

    result = fit(
        made,
        digits.train,
        spec=digits.spec,
        seed=0,
        features=source,
        compute=Compute(precision="float32"),
    )

    normalizing = [layer for layer in result.model.layers if "batch_normalization" in layer.name]
    images, _ = digits.train.gather(np.arange(len(digits.train)))
    values = np.asarray(keras.Model(result.model.input, normalizing[-1].input)(images))
    np.testing.assert_allclose(
        normalizing[-1].moving_mean, values.mean(axis=0), atol=0.1 * values.std()
    )
    np.testing.assert_allclose(
        normalizing[-1].moving_variance, values.var(axis=0), rtol=0.15, atol=1e-3
    )


def test_mirroring_is_two_views_of_which_training_draws_one(
    candidate: Make, digits: Split, source: FeatureSource, evaluated: list[int]
) -> None:
    made = candidate(HEADS["flatten"], augmentation=Augmentation(horizontal_flip=True))

    found = _find(source, made, digits)

    assert found is not None
    assert found.validation is not None
    assert (found.train.views, found.validation.views) == (2, 1)
    assert evaluated == [len(digits.development)] * 2
    count = len(digits.train)
    positions = np.array([3, count + 3, 5, count + 7])
    described, labels = found.train.gather(positions)
    images, expected = digits.train.gather(np.array([3, 3, 5, 7]))
    images = images.copy()
    images[[1, 3]] = images[[1, 3], :, ::-1]
    model = build_features(made.model, digits.spec, seed=0)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(described, model.predict(images, verbose=0), rtol=2e-3, atol=1e-3)
    assert np.abs(described[0] - described[1]).max() > 0.01

    assert _fit(made, digits, source).backbone_seed == 0


@pytest.mark.parametrize(
    ("backbone", "training"),
    [
        ({"trainable": "all"}, {}),
        ({"trainable": 1}, {}),
        ({}, {"augmentation": Augmentation(crop_padding=1)}),
        ({}, {"augmentation": Augmentation(horizontal_flip=True, mixup=0.2)}),
    ],
)
def test_what_changes_all_the_time_is_trained_on_images(
    backbone: Any,
    training: Any,
    candidate: Make,
    digits: Split,
    source: FeatureSource,
    evaluated: list[int],
) -> None:
    assert _find(source, candidate(backbone=backbone, **training), digits) is None
    assert evaluated == []


def test_features_of_other_images_are_never_given_out(
    candidate: Make, digits: Split, source: FeatureSource, evaluated: list[int]
) -> None:
    test = digits.open_test("a look at the test images", lambda opening: None)

    found = source.find(candidate(), test, None, spec=digits.spec, seed=0, clock=Clock())

    assert found is None
    assert evaluated == []


def test_without_a_cache_trials_train_on_images(
    candidate: Make, digits: Split, tmp_path: Path
) -> None:
    told = Notes()
    none = FeatureSource(digits, limit=0, cache_directory=tmp_path, progress=told)
    small = FeatureSource(digits, limit=1000, cache_directory=tmp_path, progress=told)

    assert _find(none, candidate(), digits) is None
    assert told.lines == []
    assert [_find(small, candidate(), digits) for _ in range(3)] == [None] * 3
    assert "--cache-limit is 0.0 MiB; its trials run the backbone" in told.lines[-1]
    assert len([line for line in told.lines if "features are not cached" in line]) == 1
    assert _fit(candidate(), digits, small).backbone_seed is None


def test_what_float16_cannot_hold_is_not_kept(
    candidate: Make, network: Path, digits: Split, tmp_path: Path
) -> None:
    import keras

    loud = keras.saving.load_model(network)
    loud.get_layer("last").set_weights(
        [1e6 * weight for weight in loud.get_layer("last").get_weights()]
    )
    loud.save(tmp_path / "loud.keras")
    told = Notes()
    source = FeatureSource(digits, cache_directory=tmp_path, progress=told)
    made = candidate(path=tmp_path / "loud.keras")

    assert _find(source, made, digits) is None
    assert "float16 cannot hold them: their largest value is" in told.lines[-1]
    assert not list((tmp_path / "features").glob("*/*"))
    assert np.isfinite(_fit(made, digits, source).history[-1]["loss"])


def test_what_features_depend_on_makes_others(
    candidate: Make, network: Path, digits: Split, tmp_path: Path, evaluated: list[int]
) -> None:
    import keras

    def find(made: Candidate, *, seed: int = 0) -> None:
        source = FeatureSource(digits, cache_directory=tmp_path)
        found = source.find(
            made, digits.train, digits.validation, spec=digits.spec, seed=seed, clock=Clock()
        )
        assert found is not None

    find(candidate())
    find(candidate(), seed=1)  # the file's weights are the same for every seed
    find(candidate(epochs=5, learning_rate=1.0))
    assert len(evaluated) == 1

    find(candidate(backbone={"weights": "none"}))
    find(candidate(backbone={"weights": "none"}), seed=1)
    larger = candidate()
    larger = larger.model_copy(update={"model": larger.model.model_copy(update={"input_size": 12})})
    find(larger)
    find(candidate(backbone={"layer": "normalization"}))
    assert len(evaluated) == 5

    changed = keras.saving.load_model(network)
    changed.get_layer("last").set_weights(
        [weight + 0.1 for weight in changed.get_layer("last").get_weights()]
    )
    changed.save(tmp_path / "changed.keras")
    find(candidate(path=tmp_path / "changed.keras"))
    assert len(evaluated) == 6


class _StopError(Exception):
    pass


def test_an_interrupted_head_training_goes_on(
    candidate: Make, digits: Split, source: FeatureSource, tmp_path: Path
) -> None:
    made = candidate(HEADS["average_max"], epochs=3)
    folder = tmp_path / "checkpoints"

    def stop(report: Any) -> None:
        if report.epoch >= 2:
            raise _StopError

    whole = _fit(made, digits, source)
    with pytest.raises(_StopError):
        _fit(made, digits, source, checkpoint_directory=folder, listener=Listening(on_report=stop))
    resumed = _fit(made, digits, source, checkpoint_directory=folder)

    assert [row["val_loss"] for row in resumed.history] == pytest.approx(
        [row["val_loss"] for row in whole.history], rel=1e-5
    )
    # A checkpoint of the head is not used for the whole network.
    on_images = _fit(made, digits, None, checkpoint_directory=folder)
    assert on_images.epochs_trained == 3
    assert on_images.backbone_seed is None


@pytest.mark.parametrize("weights", ["file", "none"])
def test_the_first_phase_of_fine_tuning_trains_on_features(
    weights: str, candidate: Make, digits: Split, source: FeatureSource, evaluated: list[int]
) -> None:
    made = candidate(
        HEADS["average_max"],
        backbone={"weights": weights, "trainable": 1},
        epochs=4,
        fine_tuning={"head_share": 0.5, "learning_rate": 1e-6},
    )

    result = _fit(made, digits, source)

    assert evaluated == [len(digits.development)]
    rows = result.history
    # Fine-tuning starts with the head's trained weights.
    assert rows[1]["val_loss"] < rows[0]["val_loss"] - 0.02
    assert rows[2]["val_loss"] == pytest.approx(rows[1]["val_loss"], abs=0.02)
    images, labels = digits.validation.gather(slice(None))
    loss = classification_metrics(result.model.predict(images, verbose=0), labels)["loss"]
    assert loss == pytest.approx(rows[-1]["val_loss"], abs=5e-3)


def test_a_study_of_heads_exports_one_network(
    candidate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: list[int]
) -> None:
    import keras

    def space(trial: Trial) -> Candidate:
        units = trial.suggest_int("units", 4, 32)
        return candidate(Pooled(layers=(DenseLayer(units=units),)), batch_size=32)

    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    study = StudySpec(
        name="heads",
        description="Units of a head.",
        space=space,
        data="digits",
        trials=3,
        epochs=2,
        first_rung=2,
        retrain_epochs=30,
    )
    told = Notes()

    result = run_study(
        study,
        storage=f"sqlite:///{tmp_path / 'studies.db'}",
        places=tmp_path / "runs",
        progress=told,
    )

    assert evaluated == [len(result.split.development)]
    assert len([line for line in told.lines if "computed once" in line]) == 1
    assert result.candidate == Candidate.from_json(candidate_of(result.study.best_trial))
    assert "features" in result.metrics["seconds_by_activity"]
    exported = keras.saving.load_model(result.directory / "model.keras", safe_mode=True)
    images, _ = result.split.validation.gather(slice(None))
    np.testing.assert_allclose(
        exported.predict(images, verbose=0), result.model.predict(images, verbose=0), atol=1e-6
    )
    assert exported.count_params() == result.study.best_trial.user_attrs["parameters"]
    assert result.metrics["test"]["accuracy"] > 0.2
