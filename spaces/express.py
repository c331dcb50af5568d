"""Finds the parameters with which a space reproduces a candidate made elsewhere."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FixedTrial

from cnn_blocks.backbones.staged import Stage, Staged
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial, Space, explore, is_legal

Leaves: TypeAlias = Mapping[str, Any]

# Of ranges with at most this many values, all values are tried.
_FEW = 16
# Numbers this close train alike: an L2 of 1e-7, the lowest in a space, counts as none.
_TOLERANCE = 1e-6
# Decoupled decay is multiplied by the rate: 10,000 steps of 0.001 x 1e-4 change weights by 0.1%.
_DECAY_TOLERANCE = 1e-4
_BISECTIONS = 24
# Fields of a stage that act in or between its blocks; its other fields act after the last block.
_INSIDE_STAGE = {"block", "depth", "reduction", "place"}
_NO_REDUCTION = {"reduction_inside": "none", "reduction_behind": "none"}
# The number of nearest known candidates to start from, besides the lowest candidate.
_STARTS = 3


@dataclass(frozen=True)
class Expression:
    """A space's closest approximation of a candidate.

    `differences` lists what differs; if it is empty, `parameters` reproduce the candidate.
    `settled` lists training settings that the space fixes to other values for all its candidates.
    """

    parameters: dict[str, Any]
    differences: tuple[str, ...]
    settled: tuple[str, ...]


class Expressing:
    """Expresses candidates in a space.

    Settings that are the same for all candidates of the space (of the training, and the initial
    weights) need not match; everything else must.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._explored = [(probe.params, _leaves(candidate)) for probe, candidate in explore(space)]
        self._kinds = {leaves["model.backbone.kind"] for _, leaves in self._explored}
        values: dict[str, set[Any]] = {}
        for _, leaves in self._explored:
            for path, value in leaves.items():
                if _is_training(path):
                    values.setdefault(_topic(path), set()).add(value)
        self._varied = {topic for topic, found in values.items() if len(found) > 1}

    def express(self, candidate: Candidate) -> Expression:
        """Returns the parameters that come closest to this candidate."""
        wanted = _leaves(candidate)
        kind = wanted["model.backbone.kind"]
        if kind not in self._kinds:
            known = ", ".join(sorted(self._kinds))
            return Expression({}, (f"backbone {kind!r}, but the space has {known}",), ())
        # Start from the lowest candidate, then from the nearest explored ones.
        nearest = sorted(self._explored, key=lambda known: self._distance(wanted, known[1]))
        best: Expression | None = None
        for start in ({}, *(parameters for parameters, _ in nearest[:_STARTS])):
            found = self._compare(candidate, self._descend(wanted, start))
            if best is None or len(found.differences) < len(best.differences):
                best = found
            if not best.differences:
                break
        assert best is not None
        return best

    def _compare(self, candidate: Candidate, parameters: dict[str, Any]) -> Expression:
        # Evaluate exactly these parameters; FixedTrial fails if one is missing.
        nearest = self.space(FixedTrial(parameters))
        target, found = _canonical_leaves(candidate), _canonical_leaves(nearest)
        differing = sorted(
            (path for path in target | found if _differs(target, found, path)), key=_is_training
        )
        differences = [_words(target, found, path) for path in differing if self._counts(path)]
        settled = [
            _words(target, found, path)
            for path in differing
            if not self._counts(path) and path in target and path in found
        ]
        return Expression(
            parameters, tuple(dict.fromkeys(differences)), tuple(dict.fromkeys(settled))
        )

    def _counts(self, path: str) -> bool:
        return not _is_training(path) or _topic(path) in self._varied

    def _distance(self, wanted: Leaves, found: Leaves) -> int:
        paths = [path for path in wanted.keys() | found.keys() if self._counts(path)]
        return sum(_differs(wanted, found, path) for path in paths)

    def _descend(self, wanted: Leaves, start: Mapping[str, Any]) -> dict[str, Any]:
        """Changes one parameter at a time to come closer to the candidate, until none helps.

        In most spaces a parameter sets one field, and the value to try is that field's value in the
        wanted candidate. A match that needs several changes at once may be missed.
        """
        best, leaves = self._try(start)
        distance = self._distance(wanted, leaves)
        improved = True
        while improved and distance:
            improved = False
            for name in list(best.params):
                for value in list(self._options(name, best, leaves, wanted)):
                    trial, tried = self._try({**best.params, name: value})
                    if (nearer := self._distance(wanted, tried)) < distance:
                        best, leaves, distance, improved = trial, tried, nearer, True
        return best.params

    def _try(self, parameters: Mapping[str, Any]) -> tuple[ProbeTrial, Leaves]:
        trial = ProbeTrial("lowest", wanted=parameters)
        return trial, _leaves(self.space(trial))

    def _options(
        self, name: str, best: ProbeTrial, leaves: Leaves, wanted: Leaves
    ) -> Iterator[Any]:
        distribution = best.distributions.get(name)
        if distribution is None:  # a conditional parameter that an earlier change removed
            return
        if isinstance(distribution, CategoricalDistribution):
            yield from distribution.choices
            return
        low, high, step = (getattr(distribution, end) for end in ("low", "high", "step"))
        whole = isinstance(distribution, IntDistribution)
        if whole and (high - low) // step < _FEW:
            yield from range(low, high + 1, step)
            return
        other = high if best.params[name] != high else low
        _, changed = self._try({**best.params, name: other})
        touched = [
            path
            for path in wanted
            if path in leaves and _is_number(wanted[path]) and _differs(leaves, changed, path)
        ]
        if not any(_differs(wanted, leaves, path) for path in touched):
            return
        for hint in dict.fromkeys(wanted[path] for path in touched):
            if isinstance(hint, int if whole else int | float) and is_legal(distribution, hint):
                yield hint
        if not whole and step is None:
            yield self._solve(name, low, high, best.params, touched[-1], wanted)

    def _solve(
        self,
        name: str,
        low: float,
        high: float,
        parameters: Mapping[str, Any],
        path: str,
        wanted: Leaves,
    ) -> float:
        """Finds by bisection the value of a parameter that gives a derived field its wanted value.

        An example is a growth rate: the last stage's filters determine it best.
        """
        rising = self._value(name, high, parameters, path) > self._value(
            name, low, parameters, path
        )
        middle = low
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            found = self._value(name, middle, parameters, path)
            if math.isclose(found, wanted[path], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                break
            if (found < wanted[path]) == rising:
                low = middle
            else:
                high = middle
        return middle

    def _value(self, name: str, value: float, parameters: Mapping[str, Any], path: str) -> float:
        _, leaves = self._try({**parameters, name: value})
        found: Any = leaves.get(path)
        return float(found) if _is_number(found) else math.nan


def _leaves(candidate: Candidate) -> dict[str, Any]:
    """Returns every field by its path, except the epochs, which the study sets."""
    content = candidate.model_dump(mode="json", exclude={"training": {"epochs"}})
    return dict(_flatten(content))


def _canonical_leaves(candidate: Candidate) -> dict[str, Any]:
    """Returns the fields by their paths in a canonical form, equal for equivalent candidates.

    Stages become single blocks, so that two stages of one convolution equal one stage of two. A
    reduction that is a block's last operation becomes a reduction behind the block.
    """
    leaves = _leaves(candidate)
    backbone = candidate.model.backbone
    if not isinstance(backbone, Staged):
        return leaves
    leaves = {path: value for path, value in leaves.items() if ".stages." not in path}
    blocks = [block for stage in backbone.stages for block in _blocks(stage)]
    return leaves | dict(_flatten(blocks, "model.backbone.blocks"))


def _blocks(stage: Stage) -> list[dict[str, Any]]:
    behind_all = stage.model_dump(mode="json", exclude=_INSIDE_STAGE)
    if not stage.dropout:
        del behind_all["dropout_kind"]
    behind_none = {name: Stage.model_fields[name].default for name in behind_all}
    blocks = []
    for index in range(stage.depth):
        last = index == stage.depth - 1
        inside = index == 0 if stage.place == "first" else last and stage.reduction == "stride"
        fields = {**stage.block.model_dump(mode="json"), **_NO_REDUCTION}
        if inside:
            fields["reduction_inside"] = stage.reduction
        elif last and stage.place == "last":
            fields["reduction_behind"] = stage.reduction
        if fields["kind"] == "plain":
            fields = _canonical_plain(fields)
        blocks.append({**fields, "stage": behind_all if last else behind_none})
    return blocks


def _canonical_plain(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["order"] == "after" and fields["reduction_inside"] in ("max", "average"):
        fields = {**fields, **_NO_REDUCTION, "reduction_behind": fields["reduction_inside"]}
    if fields["normalization"] == "none" and fields["reduction_inside"] == "none":
        fields = {**fields, "order": "after"}
    return fields


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flatten(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _flatten(item, f"{path}.{number}")
    else:
        yield path, value


def _is_training(path: str) -> bool:
    return path.startswith("training.") or path.endswith(".initializer")


def _topic(path: str) -> str:
    return "initializer" if path.endswith(".initializer") else path


def _differs(first: Leaves, second: Leaves, path: str) -> bool:
    if path not in first or path not in second:
        return True
    a, b = first[path], second[path]
    if _is_number(a) and _is_number(b):
        tolerance = _DECAY_TOLERANCE if path.endswith(".weight_decay") else _TOLERANCE
        return not math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=tolerance)
    return bool(a != b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(wanted: Leaves, found: Leaves, path: str) -> str:
    name = _topic(path).removeprefix("model.").removeprefix("training.")
    if path in wanted and path in found:
        return f"{name} {wanted[path]} (nearest {found[path]})"
    # A whole block or layer is missing or extra; report it once, not for each of its fields.
    part = re.sub(r"(\.\d+)\..*", r"\1", name)
    return f"{part} ({'missing' if path in wanted else 'extra'})"
