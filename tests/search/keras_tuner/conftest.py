"""Ignores Keras Tuner's thread warnings, and provides files with the user's own HyperModels."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # `threading.currentThread()` is deprecated, and Keras Tuner 1.4.8 calls it all the time.
    ignored = pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(ignored)


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """A file with HyperModels as a user would write them."""
    path = tmp_path / "own_models.py"
    path.write_text(OWN_MODELS)
    return path


OWN_MODELS = '''
import keras
import keras_tuner
from keras import layers


class Scoped(keras_tuner.HyperModel):
    """Every kind of hyperparameter, some under conditions."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes

    def build(self, hp):
        inputs = keras.Input(self.input_shape)
        x = layers.AveragePooling2D(2)(inputs)
        kind = hp.Choice("kind", ["plain", "wide"])
        with hp.conditional_scope("kind", ["plain"]):
            units = hp.Int("units", 4, 10, step=3)
            if kind == "plain":
                x = layers.Dense(units)(layers.Flatten()(x))
        with hp.conditional_scope("kind", ["wide"]):
            units = hp.Int("units", 16, 64, sampling="log")
            if kind == "wide":
                x = layers.Dense(units)(layers.Flatten()(x))
        for index in range(hp.Int("more", 0, 2)):
            x = layers.Dense(hp.Int(f"more_{index}", 2, 16, step=2, sampling="log"))(x)
        if hp.Boolean("normalize"):
            x = layers.BatchNormalization()(x)
        x = layers.Dropout(hp.Fixed("dropout", 0.25))(x)
        model = keras.Model(inputs, layers.Dense(self.num_classes)(x))
        rate = hp.Float("rate", 1e-3, 1e-1, step=10, sampling="log")
        model.compile(
            keras.optimizers.SGD(rate, momentum=hp.Float("momentum", 0.0, 0.6, step=0.1)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model


class Augmented(keras_tuner.HyperModel):
    """Keras Tuner's own augmentation in front of a small classifier."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.augment = keras_tuner.applications.HyperImageAugment(
            input_shape=input_shape, augment_layers=0, rotate=[0.2, 0.4], contrast=None
        )
        self.input_shape, self.classes = input_shape, classes

    def build(self, hp):
        inputs = keras.Input(self.input_shape)
        x = self.augment.build(hp)(inputs)
        x = layers.Flatten()(layers.AveragePooling2D(2)(x))
        x = layers.Dense(self.classes)(x)
        model = keras.Model(inputs, layers.Softmax()(x))
        model.compile("adam", "categorical_crossentropy")
        return model


def build_plain(hp):
    """A function instead of a class, for eight by eight pixels and ten classes."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Flatten(),
            layers.Dense(hp.Int("units", 8, 16), "relu"),
            layers.Dense(10, "sigmoid"),
        ]
    )
    model.compile("rmsprop", "sparse_categorical_crossentropy")
    return model


class OwnFit(keras_tuner.HyperModel):
    """Trains in its own way."""

    def build(self, hp):
        return build_plain(hp)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [8, 16]), **kwargs)


not_a_hypermodel = 3
'''
