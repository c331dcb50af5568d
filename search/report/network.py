"""A network described for a reader: stage by stage, one for each resolution."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cnn_blocks.backbones.staged import Staged
from cnn_blocks.build import build_model
from cnn_blocks.config import Backbone, InputSpec
from cnn_blocks.symbolic import without_values
from cnn_blocks.work import LayerCall, count, layer_calls
from search.report.data import NetworkFacts, StageFacts
from search.report.words import TIMES
from spaces.candidate import Candidate

_PREPROCESSING = ("images", "scale", "resize", "standardize")
# With more different layers, a list without their widths is easier to read.
_MOST_DESCRIPTIONS = 8
_WORDS = {
    "BatchNormalization": "batch norm",
    "LayerNormalization": "layer norm",
    "GroupNormalization": "group norm",
    "MaxPooling2D": "max pooling",
    "AveragePooling2D": "average pooling",
    "GlobalAveragePooling2D": "global average pooling",
    "GlobalMaxPooling2D": "global max pooling",
    "Add": "add",
    "Multiply": "multiply",
    "Concatenate": "concatenate",
    "Flatten": "flatten",
    "Rescaling": "scale to 0..1",
    "Resizing": "resize",
    "Normalization": "standardise",
    "ReLU": "relu",
    "ZeroPadding2D": "zero padding",
}
_SILENT = {"InputLayer", "Identity", "Reshape"}


def describe_network(candidate: Candidate, spec: InputSpec) -> NetworkFacts:
    """Returns a candidate's stages, from shapes alone: no weight is allocated.

    Raises InfeasibleError if it cannot be built for these images.
    """
    from search.system.runtime import start_keras

    start_keras()
    config, outputs = candidate.model.for_training(), list[Any]()
    if isinstance(config.backbone, Staged):
        # A staged backbone defines its stages; for other networks only resolutions are known.
        recorder = _Recorder(config.backbone, outputs)
        config = config.model_copy(update={"backbone": recorder})
    with without_values():
        model = build_model(config, spec, pretrained=False)
    calls = list(layer_calls(model))
    stages = list(_stages(_grouped(calls, _stage_numbers(outputs)), candidate.model.backbone))
    views = 2 if candidate.model.mirror else 1
    return NetworkFacts(
        summary=candidate.summary(),
        stages=tuple(stages),
        parameters=sum(stage.parameters for stage in stages),
        multiply_accumulates=views * sum(stage.multiply_accumulates for stage in stages),
        mirrored=candidate.model.mirror,
    )


class _Recorder:
    """A staged backbone that keeps the output of each stage."""

    def __init__(self, backbone: Staged, outputs: list[Any]) -> None:
        self._backbone, self._outputs = backbone, outputs

    def __call__(self, x: Any) -> Any:
        self._outputs.extend(self._backbone.stage_outputs(x))
        return self._outputs[-1]


def _stage_numbers(outputs: list[Any]) -> dict[int, int]:
    """Returns the number of each layer's stage, from 1, by the layer's `id`."""
    found: dict[int, int] = {}
    for number, output in enumerate(outputs, start=1):
        pending = [output]
        while pending:
            operation, node_index, _ = pending.pop()._keras_history
            if id(operation) not in found and operation.name not in _PREPROCESSING:
                found[id(operation)] = number
                pending.extend(operation._inbound_nodes[node_index].input_tensors)
    return found


def _grouped(calls: list[LayerCall], numbers: Mapping[int, int]) -> list[list[LayerCall]]:
    """Returns the calls by place: preprocessing, each stage, the head.

    Without known stages each resolution is one stage, and the head follows the last feature map.
    Layers inside a stage that output no map, as in squeeze and excitation, belong to that stage.
    """
    maps = [index for index, call in enumerate(calls) if _resolution(call) is not None]
    last_map = maps[-1] if maps else -1
    groups: dict[object, list[LayerCall]] = {}
    place: object = "input"
    for index, call in enumerate(calls):
        resolution = _resolution(call)
        if call.layer.name in _PREPROCESSING:
            place = "input"
        elif numbers:
            place = numbers.get(id(call.layer), "head")
        elif index > last_map:
            place = "head"
        elif resolution is not None:
            place = resolution
        groups.setdefault(place, []).append(call)
    merged: list[list[LayerCall]] = []
    for place, group in groups.items():
        weightless = not any(getattr(call.layer, "weights", ()) for call in group)
        if weightless and isinstance(place, tuple):
            merged[-1].extend(group)
        else:
            merged.append(group)
    return merged


def _resolution(call: LayerCall) -> tuple[int, int] | None:
    shape = call.outputs[0]
    if type(call.layer).__name__.startswith("ZeroPadding"):
        return None  # only prepares the next convolution
    if len(shape) != 4 or (shape[1] or 1) * (shape[2] or 1) == 1:
        return None
    return shape[1] or 1, shape[2] or 1


def _shape(group: list[LayerCall], *, flat: bool) -> tuple[int, ...]:
    """Returns a part's output shape for one image."""
    maps = group if flat else [call for call in group if _resolution(call) is not None] or group
    return tuple(size or 1 for size in maps[-1].outputs[0][1:])


def _stages(groups: list[list[LayerCall]], backbone: Backbone) -> Iterator[StageFacts]:
    seen: set[int] = set()
    own = backbone.stages if isinstance(backbone, Staged) else ()
    for number, group in enumerate(groups):
        first, is_last = number == 0, number == len(groups) - 1
        layers = {id(call.layer): call.layer for call in group if id(call.layer) not in seen}
        seen |= layers.keys()
        yield StageFacts(
            title="Input" if first else "Head" if is_last else f"Stage {number}",
            block=own[number - 1].block.summary() if own and not first and not is_last else "",
            layers=_describe(call.layer for call in group),
            shape=_shape(group, flat=is_last),
            parameters=sum(
                count(weight.shape)
                for layer in layers.values()
                for weight in getattr(layer, "weights", ())
            ),
            multiply_accumulates=sum(call.work.multiply_accumulates for call in group),
        )


def _describe(layers: Iterable[Any]) -> str:
    heard = [layer for layer in layers if type(layer).__name__ not in _SILENT]
    found = Counter(_words(layer, precise=True) for layer in heard)
    if len(found) > _MOST_DESCRIPTIONS:
        found = Counter(_words(layer, precise=False) for layer in heard)
    return ", ".join(
        f"{times} {TIMES} {words}" if times > 1 else words for words, times in found.items()
    )


def _words(layer: Any, *, precise: bool) -> str:
    kind = type(layer).__name__
    if kind == "Dense":
        return f"dense {layer.units}" if precise else "dense"
    if hasattr(layer, "kernel_size"):
        size = TIMES.join(map(str, layer.kernel_size))
        name = "depthwise conv" if kind.startswith("Depthwise") else "conv"
        name = "separable conv" if kind.startswith("Separable") else name
        filters = f", {layer.filters} filters" if precise and hasattr(layer, "filters") else ""
        return f"{name} {size}{filters}"
    if "Dropout" in kind and hasattr(layer, "rate"):
        name = "spatial dropout" if kind.startswith("Spatial") else "dropout"
        return f"{name} {layer.rate:.3g}" if precise else name
    if kind == "Activation":
        return str(getattr(layer.activation, "__name__", "activation"))
    return _WORDS.get(kind, kind)
