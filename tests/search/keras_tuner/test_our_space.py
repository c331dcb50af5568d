"""Our spaces searched by Keras Tuner."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.errors import UserError
from search.data import Split
from spaces.candidate import Candidate
from studies.study import StudySpec, load_study


def hypermodel(study: Any, **options: Any) -> Any:
    from search.keras_tuner import hypermodel

    return hypermodel(study, **options)


def values_of(hp: Any, seed: int) -> Any:
    """Returns hyperparameters drawn by Keras Tuner's random search."""
    drawn = hp.copy()
    drawn.values = {known.name: known.random_sample(seed) for known in hp.space}
    return drawn


@pytest.mark.parametrize("name", ["depth_filters", "full_cnn"])
def test_all_parameters_are_declared_and_make_legal_candidates(name: str, digits: Split) -> None:
    import keras_tuner

    model = hypermodel(name, spec=digits.spec)
    hp = keras_tuner.HyperParameters()
    model.declare_hyperparameters(hp)
    declared = {known.name for known in hp.space}
    assert {"stages", "dense_2_units", "activation", "l2"} <= declared
    for seed in range(20):
        candidate = model.candidate(values_of(hp, seed))
        assert Candidate.from_json(candidate.to_json()) == candidate
    assert {known.name for known in hp.space} == declared


def test_a_built_model_is_compiled_and_takes_raw_images(
    tiny_study: StudySpec, digits: Split
) -> None:
    import keras_tuner

    model = hypermodel(tiny_study, spec=digits.spec).build(keras_tuner.HyperParameters())
    images, labels = digits.train.gather(np.arange(256))
    history = model.fit(images, np.eye(10)[labels], epochs=3, verbose=0).history

    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(model.predict(images[:4], verbose=0).sum(axis=1), 1, atol=1e-5)


def test_fit_trains_with_everything_a_candidate_says(digits: Split) -> None:
    import keras
    import keras_tuner

    spec = load_study("quickstart").spec

    def space(trial: Any) -> Candidate:
        return spec.candidate(trial).with_training(class_weights="balanced", batch_size=128)

    model = hypermodel(spec.model_copy(update={"space": space}), data="digits")
    hp = keras_tuner.HyperParameters()
    network = model.build(hp)
    rate = model.candidate(hp).training.learning_rate
    assert float(network.optimizer.learning_rate) == pytest.approx(rate)
    rates: list[float] = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(network.optimizer.learning_rate))
    )
    history = model.fit(hp, network, callbacks=[watch], epochs=3, initial_epoch=1, verbose=0)

    steps = len(model.train) // 128
    assert len(rates) == 2 * steps
    assert rates[-1] < 0.1 * max(rates)  # the schedule ends with the call
    assert history.epoch == [1, 2]
    assert {"val_accuracy", "val_loss", "accuracy", "loss"} <= set(history.history)
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Layer)]
    momenta = {x.momentum for x in layers if isinstance(x, keras.layers.BatchNormalization)}
    assert momenta == {max(0.5, 1 - 4 / steps)}


def test_wrong_uses_are_said(tiny_study: StudySpec, digits: Split) -> None:
    import keras_tuner

    with pytest.raises(UserError, match="depth_filter"):
        hypermodel("depth_filtres")
    with pytest.raises(UserError, match="--data"):
        hypermodel("depth_filters")
    fine_tune = hypermodel("fine_tune", spec=digits.spec)
    with pytest.raises(UserError, match="in one phase"):
        fine_tune.candidate(keras_tuner.HyperParameters())
    model = hypermodel(tiny_study, spec=digits.spec)
    hp = keras_tuner.HyperParameters()
    with pytest.raises(UserError, match=r"tuner\.search"):
        model.fit(hp, model.build(hp))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["data", "arrays"])
def test_hyperband_runs_and_returns_its_best_model(
    source: str, tiny_study: StudySpec, digits: Split, tmp_path: Path
) -> None:
    import keras_tuner

    model = hypermodel(
        tiny_study, **({"data": "digits"} if source == "data" else {"spec": digits.spec})
    )
    tuner = keras_tuner.Hyperband(
        model, objective="val_accuracy", max_epochs=2, factor=2, seed=0, directory=tmp_path
    )
    if source == "data":
        tuner.search(verbose=0)
    else:
        images, labels = digits.train.gather(np.arange(400))
        tuner.search(
            images, labels, validation_data=digits.validation.gather(np.arange(100)), verbose=0
        )

    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    assert any(trial.hyperparameters.values.get("tuner/initial_epoch") == 1 for trial in trials)
    best = tuner.get_best_models()[0]
    images, labels = digits.validation.gather(np.arange(len(digits.validation)))
    accuracy = (best.predict(images, verbose=0).argmax(axis=1) == labels).mean()
    if source == "data":
        score = tuner.oracle.get_best_trials()[0].score
        assert accuracy == pytest.approx(score, abs=1e-6)
    assert isinstance(model.candidate(tuner.get_best_hyperparameters()[0]), Candidate)
