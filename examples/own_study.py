"""Kernel size, activation, filters and learning rate of three plain stages.

    python -m search.run --study examples/own_study.py

Expect: a network for the digits that come with scikit-learn, in less than a minute.
"""

from cnn_blocks import ModelConfig, Plain, Pooled
from studies import Candidate, StudySpec, TrainingConfig, growing_filters, staged, suggest_component


def plain_stages(trial):
    first = trial.suggest_int("first_filters", 8, 32, step=8)
    # Samples the kernel size and the activation, which have a default range; fixes the rest.
    block = suggest_component(
        trial, Plain, filters=first, normalization="batch", order="before", l2=0.0
    )
    backbone = staged(
        block,
        filters=growing_filters(first, 2.0, 3),
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.1] * 3,
    )
    training = TrainingConfig(
        batch_size=64,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
    )
    return Candidate(model=ModelConfig(backbone=backbone, head=Pooled()), training=training)


study = StudySpec(
    name="own_study",
    description="Kernel size, activation, filters and learning rate of three plain stages.",
    space=plain_stages,
    data="digits",
    trials=4,
    epochs=3,
    retrain_epochs=8,
    workers=0,  # over before a worker process would have started
)
