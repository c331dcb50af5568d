"""Building pieces shared by blocks and heads, made of built-in Keras layers."""

from typing import Any

from cnn_blocks.config import Activation, Initializer, Normalization, Reduction


def activate(x: Any, activation: Activation) -> Any:
    """Applies an activation to a tensor."""
    from keras import layers

    return x if activation == "linear" else layers.Activation(activation)(x)


def normalize(x: Any, normalization: Normalization) -> Any:
    """Normalises a tensor over its last axis; "group" uses the largest possible number up to 32."""
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
    """Halves height and width by 2x2 max or average pooling; does nothing for other reductions."""
    from keras import layers

    if reduction == "max":
        return layers.MaxPooling2D(2)(x)
    if reduction == "average":
        return layers.AveragePooling2D(2)(x)
    return x


def halve(x: Any, reduction: Reduction) -> Any:
    """Reduces a shortcut to the size of its branch; "stride" uses average pooling.

    Averages use all inputs, whereas a strided 1x1 convolution would skip three quarters of them (He
    et al., 2018, "Bag of Tricks", ResNet-D).
    """
    from keras import layers

    if reduction == "stride":
        # "same" padding rounds odd sizes up, like the strided convolution in the branch.
        return layers.AveragePooling2D(2, padding="same")(x)
    return pool(x, reduction)


def drop_branch(x: Any, rate: float) -> Any:
    """Drops a residual branch (N, H, W, C) for a fraction of training images; scales the others.

    Implements stochastic depth (Huang et al., 2016) with a built-in layer: one draw per image.
    """
    from keras import layers

    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1))(x) if rate else x


def squeeze_and_excite(x: Any, squeezed: int, activation: Activation, **fields: Any) -> Any:
    """Scales each channel by a gate computed from the means of all channels (Hu et al., 2017).

    `squeezed` is the number of channels between means and gates; `fields` are passed to `convolve`.
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
    """Convolves a tensor; `reduction` adds stride 2 or 2x2 pooling."""
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
    """Convolves each channel separately; `reduction` adds stride 2 or 2x2 pooling."""
    from keras import initializers, layers, regularizers

    family, distribution = initializer.rsplit("_", 1)
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=2 if reduction == "stride" else 1,
        padding="same",
        use_bias=use_bias,
        # Keras computes the fan-in over all channels, although each output sees only one. The named
        # initialiser would make weights too small by the square root of the number of channels.
        # Keras' fan-out is the kernel size, which is the true fan-in.
        depthwise_initializer=initializers.VarianceScaling(
            scale=2.0 if family == "he" else 1.0,
            mode="fan_out",
            distribution="uniform" if distribution == "uniform" else "truncated_normal",
        ),
        depthwise_regularizer=regularizers.L2(l2) if l2 else None,
    )(x)
    return pool(x, reduction)
