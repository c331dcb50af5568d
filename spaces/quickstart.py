"""A handful of parameters over tiny networks, to see the whole line work in a minute."""

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import growing_filters, staged
from spaces.suggest import Trial


def quickstart(trial: Trial) -> Candidate:
    """Suggests two or three stages of 8 to 32 filters, their activation and the learning rate."""
    stages = trial.suggest_int("stages", 2, 3)
    backbone = staged(
        Plain(activation=trial.suggest_categorical("activation", ["relu", "gelu", "silu"])),
        filters=growing_filters(trial.suggest_int("filters", 8, 32, step=8), 2.0, stages),
        depth=1,
        reduction="max",
        place="first",
        dropout=[trial.suggest_float("dropout", 0.0, 0.3)] * stages,
    )
    head = Pooled(pooling=trial.suggest_categorical("pooling", ["average", "flatten"]))
    training = TrainingConfig(
        batch_size=64,
        optimizer="sgd",
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        weight_decay=5e-4,
        schedule="one_cycle",
        warmup=0.25,
        label_smoothing=0.05,
        augmentation=Augmentation(crop_padding=2),
    )
    return Candidate(model=ModelConfig(backbone=backbone, head=head), training=training)
