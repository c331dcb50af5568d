"""The winner's feature maps, drawn as boxes that shrink and thicken from stage to stage."""

import math

from markupsafe import Markup

from search.report.data import NetworkFacts, StageFacts
from search.report.svg import CHARACTER, Drawing
from search.report.words import TIMES, compact

_TALLEST, _SHORTEST = 120.0, 14.0
_THINNEST, _THICKEST = 8.0, 70.0
_SLANT = 0.35
_SPACING = 26.0


def feature_maps(network: NetworkFacts) -> Markup:
    """Returns a box for each stage's output: its height is the map's, its depth the channels."""
    stages = network.stages
    largest = max(_side(stage) for stage in stages)
    most = max(_channels(stage) for stage in stages)
    described = "; ".join(
        f"{stage.title}: {shape_words(stage.shape)}, {compact(stage.parameters)} parameters, "
        f"{compact(stage.multiply_accumulates)} multiply-accumulates"
        for stage in stages
    )
    boxes = [_box(stage, largest, most) for stage in stages]
    columns = [
        max(
            width + height * _SLANT,
            CHARACTER * max(len(stage.title), len(shape_words(stage.shape))),
        )
        for (width, height), stage in zip(boxes, stages, strict=True)
    ]
    drawing = Drawing(
        "network",
        title=f"The winner's {len(stages)} parts and the shapes between them",
        description=f"{described}.",
        width=sum(columns) + _SPACING * len(columns),
        height=_TALLEST * (1 + _SLANT) + 74,
        natural=True,
    )
    floor, left = _TALLEST * (1 + _SLANT) + 14, _SPACING / 2
    for number, ((width, height), column, stage) in enumerate(
        zip(boxes, columns, stages, strict=True)
    ):
        x = left + (column - width - height * _SLANT) / 2
        _draw_box(drawing, x, floor, width, height, flat=len(stage.shape) == 1)
        middle = left + column / 2
        for row, (text, class_) in enumerate(
            (
                (stage.title, "value"),
                (shape_words(stage.shape), "label"),
                (f"{compact(stage.parameters)} par.", "small"),
            )
        ):
            drawing.text(middle, floor + 22 + row * 16, text, text_anchor="middle", class_=class_)
        left += column + _SPACING
        if number < len(stages) - 1:
            at = left - _SPACING / 2
            drawing.path([(at - 8, floor - 16), (at + 4, floor - 16)], "flow")
            drawing.path([(at, floor - 20), (at + 4, floor - 16), (at, floor - 12)], "flow")
    return drawing.render()


def shape_words(shape: tuple[int, ...]) -> str:
    """Returns a shape as in `32 x 32 x 64`, with multiplication signs."""
    return f" {TIMES} ".join(map(str, shape))


def _side(stage: StageFacts) -> int:
    return max(stage.shape[:2]) if len(stage.shape) == 3 else 1


def _channels(stage: StageFacts) -> int:
    return stage.shape[-1]


def _box(stage: StageFacts, largest: int, most: int) -> tuple[float, float]:
    height = _SHORTEST + (_TALLEST - _SHORTEST) * math.sqrt(_side(stage) / largest)
    share = math.log1p(_channels(stage)) / math.log1p(most)
    width = _THINNEST + (_THICKEST - _THINNEST) * share
    return (width, height) if len(stage.shape) == 3 else (10.0, _THICKEST * share)


def _draw_box(
    drawing: Drawing, x: float, floor: float, width: float, height: float, *, flat: bool
) -> None:
    if flat:
        drawing.add("rect", x=x, y=floor - height, width=width, height=height, class_="front", rx=2)
        return
    # The map's plane is slanted, on the left; the channels lie behind one another.
    slant, top = height * _SLANT, floor - height
    front = [(x, floor), (x, top), (x + slant, top - slant), (x + slant, floor - slant)]
    upper = [(x, top), (x + width, top), (x + width + slant, top - slant), (x + slant, top - slant)]
    face = [(x, floor), (x + width, floor), (x + width, top), (x, top)]
    side = [
        (x + width, floor),
        (x + width + slant, floor - slant),
        (x + width + slant, top - slant),
        (x + width, top),
    ]
    for class_, corners in (("back", front), ("side", side), ("upper", upper), ("front", face)):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        drawing.add("polygon", points=points, class_=class_)
