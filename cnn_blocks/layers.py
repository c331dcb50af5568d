"""Small pieces that blocks and heads share, each from built-in Keras layers."""

from typing import Any

from cnn_blocks.config import Activation, Initializer, Normalization, Reduction


def activate(x: Any, activation: Activation) -> Any:
    """Applies an activation to a tensor."""
    from keras import layers

    return x if activation == "linear" else layers.Activation(activation)(x)


def normalize(x: Any, normalization: Normalization) -> Any:
    """Normalises a tensor over its last axis, "group" in as many groups up to 32 as divide it."""
    from keras import layers

    if normalization == "batch":
        return layers.BatchNormalization()(x)
    if normalization == "layer":
        return layers.LayerNormalization()(x)
    if normalization == "group":
        channels = x.shape[-1]
        groups = max(count for count in range(1, 33) if channels % count == 0)
        return layers.GroupNormalization(groups=groups)(x)
    return x


def pool(x: Any, reduction: Reduction) -> Any:
    """Halves height and width by 2x2 max or average pooling; "none" and "stride" leave them."""
    from keras import layers

    if reduction == "max":
        return layers.MaxPooling2D(2)(x)
    if reduction == "average":
        return layers.AveragePooling2D(2)(x)
    return x


def convolve(
    x: Any,
    filters: int,
    *,
    kernel_size: int = 3,
    reduction: Reduction = "none",
    padding: str = "same",
    use_bias: bool = True,
    l2: float = 0.0,
    initializer: Initializer = "he_uniform",
) -> Any:
    """Convolves a tensor, with stride 2 or followed by 2x2 pooling where `reduction` says so."""
    from keras import layers, regularizers

    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=2 if reduction == "stride" else 1,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=initializer,
        kernel_regularizer=regularizers.L2(l2) if l2 else None,
    )(x)
    return pool(x, reduction)
