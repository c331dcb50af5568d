"""Candidates: validated training settings, and what retraining makes of them."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cnn_blocks.augmentation import Augmentation
from spaces.candidate import Candidate, TrainingConfig
from spaces.reference import reference_model, reference_training


@pytest.fixture
def candidate() -> Candidate:
    """The reference network, stopped early by its validation loss."""
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

    # Fields that came later are at their defaults, and the rest is as it was stored.
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
    changed = candidate.with_training(epochs=7, optimizer="adamw")

    assert (changed.training.epochs, changed.training.optimizer) == (7, "adamw")
    assert (candidate.training.epochs, candidate.training.optimizer) == (5, "sgd")
    assert changed.model == candidate.model
    with pytest.raises(ValidationError, match="epochs"):
        candidate.with_training(epochs=0)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        candidate.with_training(epoch=3)


def test_adam_has_no_decoupled_decay(candidate: Candidate) -> None:
    with pytest.raises(ValidationError, match=r"must be 0 with optimizer 'adam'.*Use 'adamw'"):
        candidate.with_training(optimizer="adam")


def test_retraining_follows_no_validation_loss(candidate: Candidate) -> None:
    training = candidate.for_retraining(40).training

    assert training == candidate.training.model_copy(
        update={"epochs": 40, "early_stopping": None, "schedule": "cosine"}
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step"])
def test_retraining_keeps_any_other_schedule(schedule: str, candidate: Candidate) -> None:
    retrained = candidate.with_training(schedule=schedule).for_retraining(40)

    assert retrained.training.schedule == schedule


def test_the_summary_is_one_readable_line(candidate: Candidate) -> None:
    assert candidate.summary() == (
        "plain gelu 24 | 64 64 | 128 128 | 256 256; max; sgd 0.2, batch 256"
    )
