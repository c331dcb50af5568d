"""The space of fine-tuning: first the head, then the backbone's last stages as well."""

from collections.abc import Sequence

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import ModelConfig
from cnn_blocks.pretrained import Pretrained
from spaces.backbones import DEFAULT_BACKBONES, suggest_backbone
from spaces.candidate import Candidate, FineTuning, TrainingConfig
from spaces.pooled_head import suggest_head
from spaces.reference import most_images_a_batch
from spaces.sizes import pixels_at_32
from spaces.suggest import Trial
from spaces.task import Task


def fine_tune(
    trial: Trial, *, backbones: Sequence[Pretrained] = DEFAULT_BACKBONES, task: Task = Task()
) -> Candidate:
    """Suggests backbone, input size, trainable depth, head, both phases and augmentation.

    "crop_padding" is in pixels of a 32x32 image.
    """
    stages = trial.suggest_int("trainable_stages", 1, 5)
    model = ModelConfig(
        preprocessing="none",
        input_size=trial.suggest_int("input_size", 64, 224, step=32),
        backbone=suggest_backbone(trial, backbones, trainable=stages),
        head=suggest_head(trial, activation="relu", most_layers=2, flatten=False),
    )
    training = TrainingConfig(
        batch_size=trial.suggest_int(
            "batch_size", 16, most_images_a_batch(task, at_most=128), log=True
        ),
        learning_rate=trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        clip_norm=1.0,
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        augmentation=Augmentation(
            horizontal_flip=trial.suggest_categorical("horizontal_flip", [False, True]),
            crop_padding=pixels_at_32(trial.suggest_int("crop_padding", 0, 6), task),
            erasing=trial.suggest_float("erasing", 0.0, 0.3),
        ),
        fine_tuning=FineTuning(
            head_share=trial.suggest_float("head_share", 0.1, 0.6),
            learning_rate=trial.suggest_float("fine_tuning_learning_rate", 1e-5, 1e-3, log=True),
        ),
    )
    return Candidate(model=model, training=training)
