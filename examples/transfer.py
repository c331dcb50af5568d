"""Transfer: a network learns the digits 0 to 4; heads on its features tell 5 to 9 apart.

    python examples/transfer.py

Expect: about three quarters of the digits 5 to 9 recognised, in less than a minute.

Any `.keras` file with built-in layers can be a backbone, and so can a network of
keras.applications with ImageNet weights: `KerasApplication(family="MobileNetV3Small")`.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import search
from cnn_blocks import KerasFile, ModelConfig, Pooled
from studies import Candidate, StudySpec, TrainingConfig, suggest_backbone

FOLDER = Path("runs/transfer")


def heads(trial, *, backbones):
    head = Pooled(
        pooling=trial.suggest_categorical("pooling", ["average", "max", "average_max"]),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
    )
    backbone = suggest_backbone(trial, backbones, trainable="none")
    rate = trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True)
    return Candidate(
        # The backbone brings its own preprocessing.
        model=ModelConfig(preprocessing="none", backbone=backbone, head=head),
        training=TrainingConfig(batch_size=32, learning_rate=rate),
    )


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * (255 / 16)).astype("uint8")
    images = images.repeat(4, axis=1).repeat(4, axis=2)  # 32x32 pixels
    FOLDER.mkdir(parents=True, exist_ok=True)
    few = labels < 5
    np.savez(FOLDER / "first.npz", x_train=images[few], y_train=labels[few])
    np.savez(FOLDER / "others.npz", x_train=images[~few], y_train=labels[~few] - 5)

    short = search.Budget(trials=1, retraining_epochs=8)
    first = search.run_study("quickstart", data=FOLDER / "first.npz", budget=short)
    study = StudySpec(
        name="heads",
        description="Pooling, dropout and learning rate on a frozen backbone.",
        space=heads,
        backbones=(KerasFile(path=str(first.directory / "model.keras")),),
        epochs=10,
        retrain_epochs=20,
    )
    second = search.run_study(study, data=FOLDER / "others.npz", trials=4)
    print(f"0 to 4, trained from scratch: {first.metrics['test']['accuracy']:.1%}")
    print(f"5 to 9, a head on its features: {second.metrics['test']['accuracy']:.1%}")
    print(f"files: {second.directory}")


if __name__ == "__main__":
    main()
