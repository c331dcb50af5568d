"""A few parameters of tiny networks, to try the whole pipeline in a minute."""

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.augmenting import suggest_augmentation
from spaces.candidate import Candidate
from spaces.reference import reference_training
from spaces.sizes import input_size, with_stem
from spaces.stages import growing_filters, staged
from spaces.suggest import Trial
from spaces.task import Task


def quickstart(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests two or three stages, from 8 to 32 filters on, and their training."""
    stages = trial.suggest_int("stages", 2, 3)
    block = Plain(activation=trial.suggest_categorical("activation", ["relu", "gelu", "silu"]))
    backbone = staged(
        block,
        filters=growing_filters(trial.suggest_int("filters", 8, 32, step=8), 2.0, stages),
        depth=1,
        reduction="max",
        place="first",
        dropout=[trial.suggest_float("dropout", 0.0, 0.3)] * stages,
    )
    head = Pooled(pooling=trial.suggest_categorical("pooling", ["average", "flatten"]))
    model = ModelConfig(
        input_size=input_size(task),
        backbone=with_stem(backbone, block, filters=0, task=task),
        head=head,
    )
    training = reference_training(
        task,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 5e-2, log=True),
        augmentation=suggest_augmentation(trial, task),
    )
    return Candidate(model=model, training=training)
