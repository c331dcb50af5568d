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


def halve(x: Any, reduction: Reduction) -> Any:
    """Reduces a shortcut to the size of the branch beside it; "stride" takes averages.

    Averages lose nothing that a strided 1x1 convolution would skip (He et al., 2018, "Bag of
    Tricks", ResNet-D).
    """
    from keras import layers

    if reduction == "stride":
        # "same" padding rounds odd sizes up, as the strided convolution beside it does.
        return layers.AveragePooling2D(2, padding="same")(x)
    return pool(x, reduction)


def drop_branch(x: Any, rate: float) -> Any:
    """Drops a residual branch (N, H, W, C) for a share of the training images, and scales the rest.

    Stochastic depth (Huang et al., 2016) out of a built-in layer: one draw an image.
    """
    from keras import layers

    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1))(x) if rate else x


def squeeze_and_excite(x: Any, squeezed: int, activation: Activation, **fields: Any) -> Any:
    """Scales each channel by a gate that sees all channels' means (Hu et al., 2017).

    `squeezed` channels lie between the means and the gates; `fields` go to `convolve`.
    """
    from keras import layers

    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = activate(convolve(gate, squeezed, kernel_size=1, **fields), activation)
    gate = layers.Activation("sigmoid")(convolve(gate, x.shape[-1], kernel_size=1, **fields))
    return layers.Multiply()([x, gate])


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


def convolve_depthwise(
    x: Any,
    *,
    kernel_size: int = 3,
    reduction: Reduction = "none",
    use_bias: bool = True,
    l2: float = 0.0,
    initializer: Initializer = "he_uniform",
) -> Any:
    """Convolves each channel by itself, with stride 2 or followed by 2x2 pooling if it reduces."""
    from keras import initializers, layers, regularizers

    family, distribution = initializer.rsplit("_", 1)
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=2 if reduction == "stride" else 1,
        padding="same",
        use_bias=use_bias,
        # Keras counts all channels as inputs of each: under its own name, an initialiser would
        # make weights too small by the root of their number. What it calls outputs is the kernel.
        depthwise_initializer=initializers.VarianceScaling(
            scale=2.0 if family == "he" else 1.0,
            mode="fan_out",
            distribution="uniform" if distribution == "uniform" else "truncated_normal",
        ),
        depthwise_regularizer=regularizers.L2(l2) if l2 else None,
    )(x)
    return pool(x, reduction)
