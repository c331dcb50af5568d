"""The space of both peers: what a good engineer writes in an hour for small images on a CPU."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

# The length of a whole training. Both peers stop bad trials earlier.
EPOCHS = 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A network of blocks whose filters double from block to block, and its training.

    With these ranges several whole trainings fit into 8 minutes on 2 CPU cores.
    """

    blocks: int
    filters: int
    convolutions: int
    dropout: float
    learning_rate: float
    batch_size: int
    flips: bool


def from_optuna(trial: Any) -> Settings:
    """Suggests settings with an Optuna trial."""
    return Settings(
        blocks=trial.suggest_int("blocks", 2, 4),
        filters=trial.suggest_int("filters", 16, 32, log=True),
        convolutions=trial.suggest_int("convolutions", 1, 2),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        flips=trial.suggest_categorical("flips", [False, True]),
    )


def from_keras_tuner(hyperparameters: Any) -> Settings:
    """Suggests the same settings with Keras Tuner's hyperparameters."""
    hp = hyperparameters
    return Settings(
        blocks=hp.Int("blocks", 2, 4),
        filters=hp.Int("filters", 16, 32, sampling="log"),
        convolutions=hp.Int("convolutions", 1, 2),
        dropout=hp.Float("dropout", 0.0, 0.5),
        learning_rate=hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [32, 64, 128]),
        flips=hp.Boolean("flips"),
    )


def build_model(settings: Settings, image_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns a compiled model that maps images (N, *image_shape), 0 to 255, to probabilities."""
    inputs = keras.Input(image_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    if settings.flips:
        x = layers.RandomFlip("horizontal")(x)
    for block in range(settings.blocks):
        for _ in range(settings.convolutions):
            x = layers.Conv2D(settings.filters * 2**block, 3, padding="same", use_bias=False)(x)
            # With Keras' default of 0.99 validation is meaningless for hundreds of steps; on small
            # data sets both peers would choose at random.
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.Activation("relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(settings.dropout)(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
