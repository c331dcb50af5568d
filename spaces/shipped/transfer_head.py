"""The space of heads on a frozen pretrained backbone."""

from collections.abc import Sequence

from cnn_blocks.config import ModelConfig
from cnn_blocks.pretrained import Pretrained
from spaces.backbones import DEFAULT_BACKBONES, suggest_backbone
from spaces.candidate import Candidate, TrainingConfig
from spaces.pooled_head import suggest_head
from spaces.reference import most_images_a_batch
from spaces.suggest import Trial
from spaces.task import Task


def transfer_head(
    trial: Trial, *, backbones: Sequence[Pretrained] = DEFAULT_BACKBONES, task: Task = Task()
) -> Candidate:
    """Suggests backbone, input size, head and its training; the backbone stays frozen."""
    model = ModelConfig(
        preprocessing="none",
        input_size=trial.suggest_int("input_size", 32, 224, step=32),
        backbone=suggest_backbone(trial, backbones, trainable="none"),
        head=suggest_head(trial, activation="relu", most_layers=2, flatten=False),
    )
    training = TrainingConfig(
        batch_size=trial.suggest_int("batch_size", 16, most_images_a_batch(task), log=True),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
    )
    return Candidate(model=model, training=training)
