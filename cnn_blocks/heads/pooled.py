"""The classifier head of all baselines: pooling, then a stack of dense layers."""

from typing import Annotated, Any, Literal

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.config import (
    Activation,
    Configuration,
    Head,
    Initializer,
    Rate,
    Strength,
)
from cnn_blocks.layers import activate, normalize
from cnn_blocks.registry import head


class DenseLayer(Configuration):
    """A dense layer and its activation, optionally followed by batch normalisation and dropout."""

    units: Annotated[PositiveInt, IntDistribution(32, 512, log=True)] = 128
    activation: Activation = "relu"
    batch_normalization: bool = False
    dropout: Annotated[Rate, FloatDistribution(0.0, 0.6)] = 0.0
    l2: Annotated[Strength, FloatDistribution(1e-6, 1e-2, log=True)] = 0.0
    initializer: Initializer = "he_uniform"

    def __call__(self, x: Any) -> Any:
        """Maps (N, D) to (N, units)."""
        from keras import layers, regularizers

        x = layers.Dense(
            self.units,
            kernel_initializer=self.initializer,
            kernel_regularizer=regularizers.L2(self.l2) if self.l2 else None,
        )(x)
        x = activate(x, self.activation)
        x = normalize(x, "batch" if self.batch_normalization else "none")
        return layers.Dropout(self.dropout)(x) if self.dropout else x


@head
class Pooled(Head):
    """Pools or flattens the feature map, then applies dropout and dense layers before the logits.

    `pooling` is global average (GAP), global maximum (GMP), both concatenated, or Flatten.
    """

    pooling: Annotated[
        Literal["average", "max", "average_max", "flatten"],
        CategoricalDistribution(["average", "max", "average_max", "flatten"]),
    ] = "average"
    dropout: Annotated[Rate, FloatDistribution(0.0, 0.5)] = 0.0
    layers: tuple[DenseLayer, ...] = ()

    def summary(self) -> str:
        """Returns pooling and dense units, as in "flatten, dense 128 64"."""
        units = " ".join(str(layer.units) for layer in self.layers)
        return f"{self.pooling}, dense {units}" if units else self.pooling

    def __call__(self, x: Any) -> Any:
        """Maps a feature map (N, H, W, C) to features (N, D)."""
        from keras import layers

        if self.pooling == "flatten":
            return self._classify(layers.Flatten()(x))
        mean = layers.GlobalAveragePooling2D()(x) if self.pooling != "max" else None
        maximum = layers.GlobalMaxPooling2D()(x) if self.pooling != "average" else None
        return self.from_pooled(mean, maximum)

    @property
    def pooled_only(self) -> bool:
        """Whether the head uses only each channel's mean and maximum."""
        return self.pooling != "flatten"

    def from_pooled(self, mean: Any, maximum: Any) -> Any:
        """Maps the channels' mean and maximum (N, C) to features (N, D)."""
        from keras import layers

        if self.pooling == "average_max":
            return self._classify(layers.Concatenate()([mean, maximum]))
        return self._classify(mean if self.pooling == "average" else maximum)

    def _classify(self, x: Any) -> Any:
        from keras import layers

        if self.dropout:
            x = layers.Dropout(self.dropout)(x)
        for layer in self.layers:
            x = layer(x)
        return x
