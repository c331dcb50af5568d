"""Candidates: validated training settings, and their changes for retraining."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, FineTuning, TrainingConfig
from spaces.reference import reference_model, reference_training


@pytest.fixture
def candidate() -> Candidate:
    """The reference network with early stopping."""
    return Candidate(
        model=reference_model(),
        training=reference_training(schedule="plateau", early_stopping=3, epochs=5),
    )


@settings(deadline=None)
@given(
    learning_rate=st.floats(1e-300, 1e300),
    warmup=st.floats(0, 1, exclude_max=True),
    early_stopping=st.none() | st.integers(1, 100),
    rotation=st.floats(0, 180),
)
def test_json_keeps_training_settings_exactly(
    learning_rate: float, warmup: float, early_stopping: int | None, rotation: float
) -> None:
    training = TrainingConfig(
        learning_rate=learning_rate,
        warmup=warmup,
        early_stopping=early_stopping,
        augmentation=Augmentation(rotation=rotation),
    )
    candidate = Candidate(model=reference_model(), training=training)

    assert Candidate.from_json(candidate.to_json()) == candidate


def test_a_candidate_stored_by_an_earlier_version_means_what_it_meant() -> None:
    stored = Path(__file__).parent / "stored" / "candidate_1.json"

    candidate = Candidate.from_json(stored.read_text())

    # Later fields have their defaults; the rest is as stored.
    assert candidate.model_dump(mode="json", exclude_defaults=True) == {
        "model": {
            "preprocessing": "standardize",
            "backbone": {
                "kind": "staged",
                "stages": [
                    {
                        "block": {
                            "kind": "plain",
                            "filters": 8,
                            "activation": "mish",
                            "order": "after",
                            "l2": 1e-4,
                        },
                        "dropout": 0.2,
                    },
                    {
                        "block": {"kind": "residual", "filters": 16, "activation": "gelu"},
                        "depth": 2,
                        "reduction": "stride",
                        "place": "first",
                    },
                ],
            },
            "head": {"kind": "pooled", "pooling": "average_max", "layers": [{"units": 32}]},
        },
        "training": {"optimizer": "sgd", "augmentation": {"crop_padding": 4, "cutmix": 1.0}},
    }


def test_training_settings_may_be_left_out(candidate: Candidate) -> None:
    data = json.loads(candidate.to_json())
    del data["training"]

    assert Candidate.model_validate(data).training == TrainingConfig()


def test_changed_settings_are_validated(candidate: Candidate) -> None:
    changed = candidate.with_training(epochs=7, optimizer="sgd")

    assert (changed.training.epochs, changed.training.optimizer) == (7, "sgd")
    assert (candidate.training.epochs, candidate.training.optimizer) == (5, "muon")
    assert changed.model == candidate.model
    with pytest.raises(ValidationError, match="epochs"):
        candidate.with_training(epochs=0)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        candidate.with_training(epoch=3)


def test_adam_has_no_decoupled_decay(candidate: Candidate) -> None:
    with pytest.raises(ValidationError, match=r"must be 0 with optimizer 'adam'.*Fix: use 'adamw'"):
        candidate.with_training(optimizer="adam")


def test_retraining_follows_no_validation_loss(candidate: Candidate) -> None:
    training = candidate.for_retraining(epochs=40).training

    assert training == candidate.training.model_copy(
        update={"epochs": 40, "early_stopping": None, "schedule": "cosine"}
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step"])
def test_retraining_keeps_any_other_schedule(schedule: str, candidate: Candidate) -> None:
    retrained = candidate.with_training(schedule=schedule).for_retraining(epochs=40)

    assert retrained.training.schedule == schedule


def test_the_summary_is_one_readable_line(candidate: Candidate) -> None:
    assert candidate.summary() == (
        "plain relu 24 | 64 64 | 128 128 | 256 256; max; muon 0.02, batch 256"
    )


@pytest.fixture
def fine_tuned() -> Candidate:
    """A candidate with two phases."""
    return Candidate(
        model=ModelConfig(
            preprocessing="none",
            backbone=KerasApplication(family="MobileNetV3Small", trainable=2),
            head=Pooled(),
        ),
        training=TrainingConfig(
            epochs=10,
            learning_rate=0.01,
            early_stopping=3,
            fine_tuning=FineTuning(head_share=0.3, learning_rate=1e-4),
        ),
    )


def test_fine_tuning_splits_one_count_of_epochs(fine_tuned: Candidate) -> None:
    head, tuned = fine_tuned.phases()

    assert (head.first, head.last) == (0, 3)
    assert (tuned.first, tuned.last) == (3, 10)
    assert head.candidate.model.backbone.frozen
    assert tuned.candidate.model == fine_tuned.model
    assert (head.candidate.training.epochs, tuned.candidate.training.epochs) == (3, 7)
    assert head.candidate.training.learning_rate == 0.01
    assert tuned.candidate.training.learning_rate == 1e-4
    assert head.candidate.training.early_stopping is None
    assert tuned.candidate.training.early_stopping == 3
    assert "adamw 0.01 then 0.0001" in fine_tuned.summary()


@pytest.mark.parametrize(("epochs", "head"), [(1, 0), (2, 1), (3, 1), (10, 3), (40, 12)])
def test_retraining_scales_both_phases(epochs: int, head: int, fine_tuned: Candidate) -> None:
    phases = fine_tuned.for_retraining(epochs=epochs).phases()

    assert [phase.last for phase in phases] == ([head, epochs] if head else [epochs])
    assert phases[-1].candidate.training.learning_rate == 1e-4


def test_other_trainings_have_one_phase(candidate: Candidate) -> None:
    (phase,) = candidate.phases()

    assert (phase.candidate, phase.first, phase.last) == (candidate, 0, 5)


def test_fine_tuning_needs_something_to_tune(candidate: Candidate, fine_tuned: Candidate) -> None:
    frozen = fine_tuned.phases()[0].candidate.model
    for model in (candidate.model, frozen):
        with pytest.raises(ValidationError, match="needs a pretrained backbone whose `trainable`"):
            Candidate(model=model, training=fine_tuned.training)
