"""The training-only wrapper around a network: augmentation, logits and loss."""

import copy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from cnn_blocks.augmentation import image_layers, mixing_layers
from spaces.candidate import TrainingConfig

_WINDOW_STEPS = 10


class TrainingNetwork(keras.Model):  # type: ignore[misc]
    """Augments, runs the network up to its logits, and computes the loss on mixed labels.

    Takes {"images": (N, H, W, 3) uint8, "labels": (N,) int64}. Labels are an input because MixUp
    and CutMix change them together with the images. The wrapper is never saved, only the network.
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
        compilation = training.compilation
        self.compiled_loss = None if compilation is None else compiled_loss(compilation.loss)
        # Augmentation runs in float32, which represents every pixel value exactly.
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        self.image_layers = image_layers(training.augmentation, network.input_shape[1:])
        self.mixing_layers = mixing_layers(training.augmentation)
        keras.config.set_dtype_policy(before)
        self.accuracy = keras.metrics.Mean(name="accuracy")

    @property
    def supports_xla(self) -> bool:
        """Whether XLA can compile all layers; it cannot compile Keras' affine augmentations."""
        return all(layer.supports_jit for layer in self._flatten_layers())

    def build(self, input_shape: Any) -> None:
        """Marks the wrapper as built; its parts are built already."""
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Returns {"logits": (N, C), "labels": (N, C) one-hot or mixed}."""
        images = inputs["images"]
        labels = ops.one_hot(inputs["labels"], self.classes, dtype="float32")
        if training:
            images, labels = self.augment(images, labels)
        return {"logits": self.to_logits(images, training=training), "labels": labels}

    def augment(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Returns uint8 images (N, H, W, 3) and labels (N, C), both changed at random."""
        if not self.image_layers and not self.mixing_layers:
            return images, labels
        images = ops.cast(images, "float32")
        for layer in self.image_layers:
            images = layer(images, training=True)
        for layer in self.mixing_layers:
            mixed = layer({"images": images, "labels": labels}, training=True)
            images, labels = mixed["images"], mixed["labels"]
        # The network gets whole pixel values, as in inference.
        return ops.cast(ops.clip(ops.round(images), 0, 255), "uint8"), labels

    def augment_images(self, images: Any) -> Any:
        """Returns images changed at random, for batch-normalisation statistics."""
        return self.augment(images, ops.zeros((len(images), self.classes)))[0]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the mean loss, weighted by class if configured, plus L2 penalties."""
        labels, logits = y_pred["labels"], ops.cast(y_pred["logits"], "float32")
        if self.compiled_loss is not None:
            losses = self.compiled_loss(labels, logits)
        else:
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


def compiled_loss(serialized: Any) -> Callable[[Any, Any], Any]:
    """Returns (labels (N, C), logits (N, C)) -> losses (N,) for a serialized Keras loss.

    A sparse loss gets class numbers instead of one-hot labels. A loss with `from_logits` gets
    logits, any other gets probabilities.
    """
    loss = keras.losses.get(copy.deepcopy(serialized))
    is_class = isinstance(loss, keras.losses.Loss)
    name = type(loss).__name__ if is_class else loss.__name__

    def losses(labels: Any, logits: Any) -> Any:
        truth = ops.argmax(labels, axis=-1) if "sparse" in name.lower() else labels
        takes_logits = getattr(loss, "from_logits", False)
        outputs = logits if takes_logits else keras.activations.softmax(logits)
        return loss.call(truth, outputs) if is_class else loss(truth, outputs)

    return losses


def seed_generators(layer: Any) -> list[Any]:
    """Returns all seed generators of a model and its parts, in a fixed order."""
    found: dict[int, Any] = {}
    for part in layer._flatten_layers():
        for generator in part._seed_generators:
            found[id(generator)] = generator
    return list(found.values())


def set_batch_normalization_momentum(
    network: keras.Model, steps_per_epoch: int | None = None
) -> None:
    """Sets batch normalisation's momentum so that moving averages adapt within a quarter epoch.

    A training not measured in epochs uses ten steps instead. With Keras' default of 0.99 the
    initial values still dominate after hundreds of steps, so that the validation accuracy of a
    short trial stays near chance however well the network trains.
    """
    window = _WINDOW_STEPS if steps_per_epoch is None else steps_per_epoch / 4
    momentum = float(np.clip(1 - 1 / window, 0.5, 0.99))
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
