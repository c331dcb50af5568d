"""Counts what the layers of a network compute for one image, from shapes only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Shape = tuple[int | None, ...]

# All other activations need at least an exponential, which costs several times more.
_SIMPLE_ACTIVATIONS = {"relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_swish"}
_SIMPLE_LAYERS = {"PReLU", "LayerScale"}
_SMOOTH_LAYERS = {"ELU", "Softmax"}
_FREE = {"InputLayer", "Flatten", "Reshape", "Identity"}


@dataclass(frozen=True)
class Work:
    """What layers compute in a forward pass over one image.

    Multiply-accumulates of convolutions and dense layers are exact. Everything else is counted in
    elements, because moving them takes longer than computing them.

    Attributes:
        layers: Layers and operations, each with a fixed cost.
        variables: Variables that the optimizer updates.
        multiplies: Multiply-accumulates of dense layers and convolutions, including grouped ones.
        gathered: Multiply-accumulates divided by the number of filters: the input elements that
            kernels read. Large if there are few filters.
        scattered: Multiply-accumulates divided by the input channels.
        depthwise: Multiply-accumulates of depthwise convolutions.
        convolved: Output elements of convolutions and dense layers.
        simple: Elements of ReLU and similar activations, of additions, concatenations and every
            other layer.
        smooth: Elements of activations with an exponential, such as SiLU and ELU; Mish counts
            twice.
        gelu: Elements of GELU, whose error function is slow.
        batch_normalized: Elements of batch normalisation.
        normalized: Elements of other normalisations, which take several passes.
        dropped: Random numbers that dropout draws.
        maximized: Input elements of maximum pooling.
        averaged: Input elements of average pooling; global pooling counts as `simple`.
        resized: Output elements of resizing.
    """

    layers: int = 0
    variables: int = 0
    multiplies: int = 0
    gathered: int = 0
    scattered: int = 0
    depthwise: int = 0
    convolved: int = 0
    simple: int = 0
    smooth: int = 0
    gelu: int = 0
    batch_normalized: int = 0
    normalized: int = 0
    dropped: int = 0
    maximized: int = 0
    averaged: int = 0
    resized: int = 0

    @property
    def multiply_accumulates(self) -> int:
        """The multiply-accumulates of all convolutions and dense layers."""
        return self.multiplies + self.depthwise

    def __add__(self, other: "Work") -> "Work":
        """Returns the sum of both."""
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
        }
        return Work(**sums)


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer in a network; shapes are (batch, ...).

    `trained` tells whether the layer, or any layer before it, has trainable weights. Only then
    does a gradient pass through it.
    """

    layer: Any
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    trained: bool

    @property
    def elements(self) -> int:
        """The output elements for one image."""
        return sum(count(shape[1:]) for shape in self.outputs)

    @property
    def work(self) -> Work:
        """The work of this call."""
        return _work(self.layer, self.inputs, self.elements, self.outputs[0])


def layer_calls(model: "keras.Model", *, trained: bool = False) -> Iterator[LayerCall]:
    """Yields every call of a layer in a model, including the layers of nested models.

    `trained` tells whether any layer before the model has trainable weights.
    """
    found: dict[int, bool] = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            layer = node.operation
            trains = bool(getattr(layer, "trainable_weights", ())) or trained
            trains = trains or any(found.get(id(tensor), False) for tensor in node.input_tensors)
            for output in node.output_tensors:
                found[id(output)] = trains
            if hasattr(layer, "_nodes_by_depth"):
                before = any(found.get(id(tensor), trained) for tensor in node.input_tensors)
                yield from layer_calls(layer, trained=before)
                continue
            yield LayerCall(
                layer=layer,
                inputs=tuple(tuple(tensor.shape) for tensor in node.input_tensors),
                outputs=tuple(tuple(tensor.shape) for tensor in node.output_tensors),
                trained=trains,
            )


def count(shape: Shape) -> int:
    """Returns the number of elements of a shape; an unknown size counts as one."""
    return math.prod(size or 1 for size in shape)


def _work(layer: Any, inputs: tuple[Shape, ...], elements: int, output: Shape) -> Work:
    kind = type(layer).__name__
    if kind in _FREE:
        return Work()
    variables = len(getattr(layer, "trainable_weights", ()))
    basis = Work(layers=1, variables=variables)
    if hasattr(layer, "kernel") or hasattr(layer, "depthwise_kernel"):
        positions = count((inputs[0] if "Transpose" in kind else output)[1:-1])
        return basis + _convolution(layer, positions, elements) + _activation(layer, elements)
    if kind == "BatchNormalization":
        return basis + Work(batch_normalized=elements)
    if kind.endswith("Normalization") and variables:
        return basis + Work(normalized=elements)
    if "Dropout" in kind:
        drawn = _drawn(layer, kind, output, elements)
        return basis + Work(dropped=drawn, simple=elements - drawn)
    if kind.startswith("MaxPooling"):
        return basis + Work(maximized=count(inputs[0][1:]))
    if kind.startswith("AveragePooling"):
        return basis + Work(averaged=count(inputs[0][1:]))
    if kind.startswith("Global"):
        return basis + Work(simple=count(inputs[0][1:]))
    if kind.startswith(("Resizing", "UpSampling")):
        return basis + Work(resized=elements)
    if kind in _SMOOTH_LAYERS:
        return basis + Work(smooth=elements)
    if hasattr(layer, "activation"):
        return basis + _activation(layer, elements)
    if kind in _SIMPLE_LAYERS:
        return basis + Work(simple=elements)
    # Assume that a custom layer applies each of its matrices at every position.
    matrices = [weight for weight in getattr(layer, "weights", ()) if len(weight.shape) > 1]
    used = sum(count(weight.shape) for weight in matrices) * count(output[1:-1])
    return basis + Work(multiplies=used, simple=elements)


def _convolution(layer: Any, positions: int, elements: int) -> Work:
    """Returns the work of the kernels of a convolution or dense layer at `positions` positions."""
    work = Work(convolved=elements)
    kernel = getattr(layer, "kernel", None)
    depthwise = type(layer).__name__.startswith("Depthwise")
    spatial = getattr(layer, "depthwise_kernel", kernel if depthwise else None)
    if spatial is not None:
        work += Work(depthwise=count(spatial.shape) * positions)
    dense = getattr(layer, "pointwise_kernel", None if depthwise else kernel)
    if dense is not None:
        multiplies = count(dense.shape) * positions
        groups = getattr(layer, "groups", 1)
        work += Work(
            multiplies=multiplies,
            gathered=multiplies * groups // dense.shape[-1],
            scattered=multiplies // dense.shape[-2] if len(dense.shape) > 1 else 0,
        )
    return work


def _activation(layer: Any, elements: int) -> Work:
    name = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if name == "linear":
        return Work()
    if name in _SIMPLE_ACTIVATIONS:
        return Work(simple=elements)
    if name == "gelu":
        return Work(gelu=elements)
    return Work(smooth=2 * elements if name == "mish" else elements)


def _drawn(layer: Any, kind: str, output: Shape, elements: int) -> int:
    """Returns the number of random numbers that dropout draws for one image."""
    if kind.startswith("Spatial"):
        return output[-1] or 1
    noise = getattr(layer, "noise_shape", None)
    if noise is None:
        return elements
    sizes = zip(noise[1:], output[1:], strict=True)
    return count(tuple(size if wanted is None else wanted for wanted, size in sizes))
