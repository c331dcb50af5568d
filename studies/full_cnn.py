"""Run it with

    python -m search.run --study full_cnn --data cifar10

Expect: The first trial: about 84% on validation images (8 epochs, CIFAR-10 JPEG). This space
wants a GPU, or a night.
"""

from spaces.full_cnn import full_cnn
from studies import depth_filters
from studies.study import StudySpec

study = StudySpec(
    name="full_cnn",
    description="Architecture, regularisation, learning rate, batch size, augmentation together.",
    space=full_cnn,
    fixes="SGD under one-cycle.",
    expected="The first trial: about 84% on validation images (8 epochs, CIFAR-10 JPEG).",
    trials=100,
    budget_seconds=14400,
    epochs=8,
    retrain_epochs=60,
    start=(
        {
            **depth_filters.study.start[0],
            "learning_rate": 0.2,
            "weight_decay": 5e-4,
            "batch_size": 256,
            "warmup": 0.2,
            "label_smoothing": 0.1,
            "horizontal_flip": True,
            "crop_padding": 4,
            "erasing": 0.0,
            "cutmix": 0.0,
        },
    ),
)
