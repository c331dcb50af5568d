"""Searching, resuming and retraining HyperModels with our pipeline."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.errors import InfeasibleError, UserError
from search.data import Split
from search.errors import SearchInterrupted
from search.optimize.budget import Budget
from search.progress.events import Event, Progress, TrialAdvanced
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial, explore, parameters, space_fingerprint
from studies.study import LoadedStudy, StudySpec


def study_of(reference: str, **options: Any) -> LoadedStudy:
    from search.keras_tuner import hypermodel_study

    return hypermodel_study(reference, **options)


def answered(spec: StudySpec, **values: Any) -> Candidate:
    """Returns a candidate with the given values, and the lowest values for the others."""
    trial = ProbeTrial("lowest")
    original = trial.suggest_categorical
    trial.suggest_categorical = lambda name, choices: (  # type: ignore[method-assign]
        values.get(name, original(name, choices))
    )
    return spec.candidate(trial)


def test_a_space_tells_all_its_parameters(own_file: Path) -> None:
    spec = study_of(f"{own_file}:Scoped").spec

    assert {"kind", "more", "normalize", "rate (position)", "momentum"} <= set(
        parameters(spec.candidate, draws=6)
    )
    assert {"more_0 (position)", "more_1 (position)"} <= set(parameters(spec.candidate, draws=2))
    assert space_fingerprint(spec.candidate, draws=2) == space_fingerprint(
        study_of(f"{own_file}:Scoped").spec.candidate, draws=2
    )


def test_a_candidate_holds_values_optimizer_and_loss(own_file: Path) -> None:
    spec = study_of(f"{own_file}:Scoped").spec
    trial = ProbeTrial(seed=3)
    candidate = spec.candidate(trial)

    values = candidate.model.model_dump()["backbone"]["values"]
    assert values["dropout"] == 0.25
    assert values["rate"] in (0.001, 0.01, 0.1)
    compilation = candidate.training.compilation
    assert compilation is not None
    optimizer: Any = compilation.optimizer
    assert optimizer["class_name"] == "SGD"
    assert optimizer["config"]["learning_rate"] == values["rate"]
    assert optimizer["config"]["momentum"] == values["momentum"]
    assert candidate.summary().endswith(f"sgd {values['rate']:.2g}, batch 32")
    text = candidate.to_json()
    assert Candidate.from_json(text) == candidate
    # Equal parameters give an equal candidate, however many optimizers were created before.
    assert spec.candidate(ProbeTrial(seed=3)).to_json() == text


def test_the_optimizer_of_resnet_is_kept_with_a_rate_set_later() -> None:
    spec = study_of("keras_tuner.applications.HyperResNet").spec
    candidate = answered(spec, version="v1", conv3_depth=4, conv4_depth=6, optimizer="rmsprop")

    compilation = candidate.training.compilation
    assert compilation is not None
    optimizer: Any = compilation.optimizer
    values = candidate.model.model_dump()["backbone"]["values"]
    assert optimizer["class_name"] == "RMSprop"
    assert optimizer["config"]["learning_rate"] == values["learning_rate"]
    assert compilation.loss == "categorical_crossentropy"


def test_an_own_fit_is_said_not_to_be_called(own_file: Path) -> None:
    (warning,) = study_of(f"{own_file}:OwnFit").warnings

    assert "OwnFit overrides HyperModel.fit, which is not called" in warning


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("keras.layers.Lambda(lambda x: x)", "safe_mode=False"),
        ("Square()", "only after the file that defines Square is imported"),
    ],
)
def test_layers_that_a_saved_network_lacks_are_said_before_the_search(
    tmp_path: Path, layer: str, said: str
) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        "import keras\n"
        "class Square(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * x\n"
        "def build(hp):\n"
        f"    return keras.Sequential([keras.Input((8, 8, 3)), {layer}, keras.layers.Flatten()])\n"
    )

    (warning,) = study_of(f"{path}:build").warnings

    assert said in warning


def test_a_build_without_a_model_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("def build(hp):\n    hp.Int('units', 1, 3)\n")

    with pytest.raises(InfeasibleError, match=r"must return a keras\.Model.*returned None\. Fix:"):
        study_of(f"{path}:build").spec.candidate(ProbeTrial())


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "import keras\n"
        "def odd_loss(labels, outputs):\n"
        "    return 0.0\n"
        "def build(hp):\n"
        "    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])\n"
        "    model.compile('sgd', odd_loss)\n"
        "    return model\n"
    )
    with pytest.raises(UserError, match="odd_loss"):
        study_of(f"{path}:build").spec.candidate(ProbeTrial())


def test_values_that_build_nothing_are_infeasible(tmp_path: Path) -> None:
    path = tmp_path / "partly.py"
    path.write_text(
        "import keras\n"
        "def build(hp):\n"
        "    if hp.Boolean('broken'):\n"
        "        raise RuntimeError('no such network')\n"
        "    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])\n"
        "def broken(hp):\n"
        "    raise RuntimeError('no such network')\n"
    )
    spec = study_of(f"{path}:build").spec

    assert 0 < len(explore(spec.candidate, draws=4)) < 12
    with pytest.raises(InfeasibleError, match="RuntimeError: no such network"):
        explore(study_of(f"{path}:broken").spec.candidate, draws=1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("categorical_crossentropy", 0.4),
        ("sparse_categorical_crossentropy", 0.4),
        ({"class_name": "CategoricalCrossentropy", "config": {"from_logits": True}}, 0.4),
        ({"class_name": "CategoricalFocalCrossentropy", "config": {"alpha": 1.0}}, None),
        ("mean_squared_error", None),
    ],
)
def test_a_compiled_loss_gets_what_it_was_made_for(loss: Any, expected: float | None) -> None:
    import keras

    from search.training.network import compiled_loss

    logits = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], np.float32)
    labels = np.eye(3, dtype=np.float32)[[2, 0]]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    losses = np.asarray(compiled_loss(loss)(labels, logits))

    assert losses.shape == (2,)
    if expected is not None:
        expected_losses = -np.log((probabilities * labels).sum(axis=1))
    else:
        expected_losses = np.asarray(
            [
                float(keras.losses.get(loss)(labels[i : i + 1], probabilities[i : i + 1]))
                if isinstance(loss, dict)
                else float(np.mean((labels[i] - probabilities[i]) ** 2))
                for i in range(2)
            ]
        )
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("HyperXception", {"activation": "relu", "pooling": "avg", "learning_rate": 0.001}),
        (
            "HyperResNet",
            {"version": "v1", "conv3_depth": 4, "conv4_depth": 6, "learning_rate": 0.001},
        ),
    ],
)
def test_keras_tuners_own_networks_train(name: str, choices: dict[str, Any], digits: Split) -> None:
    from search.training import fit

    spec = study_of(f"keras_tuner.applications.{name}").spec
    candidate = answered(spec, **choices).with_training(epochs=2)
    few = replace(digits.train, indices=digits.train.indices[:320])
    result = fit(candidate, few, spec=digits.spec, validation=digits.validation, seed=0)

    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert result.model.output_shape == (None, 10)


class Interrupting(Progress):
    """Interrupts the second trial after two epochs, and records the reported epochs."""

    def __init__(self, *, interrupt: bool) -> None:
        self.interrupt = interrupt
        self.epochs: dict[int, list[float]] = {}

    def handle(self, event: Event) -> None:
        if isinstance(event, TrialAdvanced):
            self.epochs.setdefault(event.number, []).append(event.epoch)
            if self.interrupt and event.number == 1 and event.epoch == 2:
                raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Scoped", "Augmented"])
def test_a_search_resumes_and_its_winner_is_rebuilt_without_the_study(
    name: str,
    own_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from search.configurations import retrain_from_configuration
    from search.pipeline import run_study

    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    arguments: dict[str, Any] = {
        "data": "digits",
        "budget": Budget(trials=2, retraining_epochs=1),
        "storage": f"sqlite:///{tmp_path / 'studies.db'}",
        "places": tmp_path / "runs",
    }
    loaded = study_of(f"{own_file}:{name}", batch_size=128)
    loaded = replace(loaded, spec=loaded.spec.model_copy(update={"epochs": 4, "first_rung": 4}))
    with pytest.raises(SearchInterrupted):
        run_study(loaded, progress=Interrupting(interrupt=True), **arguments)
    resumed = Interrupting(interrupt=False)
    result = run_study(loaded, progress=resumed, **arguments)

    assert set(resumed.epochs) == {2}
    # The continuation starts from the checkpoint, which may be that of the first epoch.
    assert min(resumed.epochs[2]) > 1
    assert result.metrics["test"]["accuracy"] > 0.15
    path = result.directory / "best_config.json"
    stored = json.loads(path.read_text("utf-8"))
    assert stored["components"] == {"keras_tuner_model": "search.keras_tuner.network"}
    assert stored["candidate"]["model"]["backbone"]["values"]
    again = retrain_from_configuration(path, data="digits", places=tmp_path / "other")
    assert again.configuration.candidate == result.candidate
    assert again.metrics["test"]["accuracy"] == pytest.approx(
        result.metrics["test"]["accuracy"], abs=0.02
    )
