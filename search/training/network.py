"""The training-only wrapper around a network: augmentation, logits and loss."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from cnn_blocks.augmentation import image_layers, mixing_layers
from spaces.candidate import TrainingConfig


class TrainingNetwork(keras.Model):  # type: ignore[misc]
    """Augments, runs the network up to its logits, and computes the loss on mixed labels.

    Takes {"images": (N, H, W, 3) uint8, "labels": (N,) int64}. Labels are an input because MixUp
    and CutMix change them together with the images. Never saved: what is saved is the network.
    """

    def __init__(
        self,
        network: keras.Model,
        training: TrainingConfig,
        class_weights: npt.NDArray[np.float32] | None,
    ) -> None:
        super().__init__(name="training_network", dtype="float32")
        self.to_logits = keras.Model(network.input, network.get_layer("logits").output)
        self.classes: int = network.output_shape[-1]
        self.label_smoothing = training.label_smoothing
        self.class_weights = class_weights
        # Augmentation computes in float32, which holds every pixel value and angle exactly.
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        self.image_layers = image_layers(training.augmentation, network.input_shape[1:])
        self.mixing_layers = mixing_layers(training.augmentation)
        keras.config.set_dtype_policy(before)
        self.accuracy = keras.metrics.Mean(name="accuracy")

    def build(self, input_shape: Any) -> None:
        """Marks the wrapper as built; all its parts are."""
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Returns {"logits": (N, C), "labels": (N, C) one-hot or mixed}."""
        images = inputs["images"]
        labels = ops.one_hot(inputs["labels"], self.classes, dtype="float32")
        if training and (self.image_layers or self.mixing_layers):
            images = ops.cast(images, "float32")
            for layer in self.image_layers:
                images = layer(images, training=True)
            for layer in self.mixing_layers:
                mixed = layer({"images": images, "labels": labels}, training=True)
                images, labels = mixed["images"], mixed["labels"]
            # The network sees whole pixel values, as it will in use.
            images = ops.cast(ops.clip(ops.round(images), 0, 255), "uint8")
        return {"logits": self.to_logits(images, training=training), "labels": labels}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns mean cross-entropy, weighted by class where asked for, plus L2 penalties."""
        labels, logits = y_pred["labels"], ops.cast(y_pred["logits"], "float32")
        losses = keras.losses.categorical_crossentropy(
            labels, logits, from_logits=True, label_smoothing=self.label_smoothing
        )
        if self.class_weights is not None:
            losses = losses * ops.sum(labels * self.class_weights, axis=-1)
        loss = ops.mean(losses)
        for penalty in self.losses:
            loss = loss + ops.cast(penalty, "float32")
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Adds accuracy against the strongest label, and returns all metrics."""
        hits = ops.equal(
            ops.argmax(y_pred["logits"], axis=-1), ops.argmax(y_pred["labels"], axis=-1)
        )
        self.accuracy.update_state(ops.cast(hits, "float32"))
        return self.get_metrics_result()


def seed_generators(layer: Any) -> list[Any]:
    """Returns all seed generators of a model and its parts, in a fixed order."""
    found: dict[int, Any] = {}
    for part in layer._flatten_layers():
        for generator in part._seed_generators:
            found[id(generator)] = generator
    return list(found.values())


def set_batch_normalization_momentum(network: keras.Model, steps_per_epoch: int) -> None:
    """Makes batch normalisation's moving averages follow within a quarter of an epoch.

    Keras' default of 0.99 still carries the initial values after hundreds of steps, so that
    validation in a short trial reads near chance however well the network trains.
    """
    momentum = float(np.clip(1 - 4 / steps_per_epoch, 0.5, 0.99))
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
