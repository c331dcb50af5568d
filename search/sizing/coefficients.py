"""The cost of each quantity in nanoseconds, on the machine where the coefficients were fitted.

`python -m benchmarks.cost_prediction --fit` prints these tables. `MachineSpeed` scales each group
of coefficients for the machine at hand.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Group: TypeAlias = Literal["overhead", "arithmetic", "memory"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Coefficients: TypeAlias = Mapping[str, float]

GROUPS: tuple[Group, ...] = ("overhead", "arithmetic", "memory")
_OVERHEAD = {"steps", "layers", "variables", "augmentations"}
_ARITHMETIC = {"multiplies", "gathered", "scattered"}

COEFFICIENTS: Mapping[Precision, Coefficients] = {
    "bfloat16": {
        "steps": 732000.0,
        "layers": 36700.0,
        "variables": 9300.0,
        "parameters": 2.06,
        "multiplies": 0.0168,
        "gathered": 0.0,
        "scattered": 0.0,
        "depthwise": 0.278,
        "convolved": 0.0,
        "simple": 1.41,
        "smooth": 2.9,
        "gelu": 5.75,
        "batch_normalized": 3.98,
        "normalized": 7.65,
        "dropped": 3.68,
        "maximized": 0.0,
        "averaged": 0.0,
        "resized": 3.0,
        "pixels": 0.0409,
        "augmentations": 480000.0,
        "augmented": 8.85,
        "forward_steps": 2090000.0,
        "forward_layers": 0.0,
        "forward_multiplies": 0.00487,
        "forward_gathered": 0.0,
        "forward_scattered": 0.0,
        "forward_depthwise": 0.0415,
        "forward_convolved": 0.0773,
        "forward_simple": 0.0,
        "forward_smooth": 0.299,
        "forward_gelu": 2.63,
        "forward_batch_normalized": 0.666,
        "forward_normalized": 2.82,
        "forward_dropped": 0.0,
        "forward_maximized": 0.0598,
        "forward_averaged": 0.354,
        "forward_resized": 2.45,
        "forward_pixels": 2.17,
    },
    "float32": {
        "steps": 952000.0,
        "layers": 47700.0,
        "variables": 12100.0,
        "parameters": 2.68,
        "multiplies": 0.0319,
        "gathered": 0.0,
        "scattered": 0.0,
        "depthwise": 0.361,
        "convolved": 0.0,
        "simple": 1.83,
        "smooth": 3.77,
        "gelu": 7.48,
        "batch_normalized": 5.17,
        "normalized": 9.95,
        "dropped": 4.78,
        "maximized": 0.0,
        "averaged": 0.0,
        "resized": 3.9,
        "pixels": 0.0532,
        "augmentations": 624000.0,
        "augmented": 11.5,
        "forward_steps": 2720000.0,
        "forward_layers": 0.0,
        "forward_multiplies": 0.00925,
        "forward_gathered": 0.0,
        "forward_scattered": 0.0,
        "forward_depthwise": 0.054,
        "forward_convolved": 0.1,
        "forward_simple": 0.0,
        "forward_smooth": 0.389,
        "forward_gelu": 3.42,
        "forward_batch_normalized": 0.866,
        "forward_normalized": 3.67,
        "forward_dropped": 1.3e-06,
        "forward_maximized": 0.0777,
        "forward_averaged": 0.46,
        "forward_resized": 3.19,
        "forward_pixels": 2.82,
    },
}

# Seconds until the first step, for each of these quantities.
COMPILING_SECONDS = {
    "steps": 0.0,
    "layers": 0.0366,
    "variables": 0.0126,
    "augmentations": 0.115,
    "forward_layers": 0.0,
}

# Seconds that the probes of `machine_speed` took on the same machine: one step, and the time until
# the end of the first one.
PROBES: Mapping[Precision, Mapping[Group, tuple[float, float]]] = {
    "bfloat16": {
        "overhead": (0.0025, 1.11),
        "arithmetic": (0.0149, 0.473),
        "memory": (0.0141, 0.543),
    },
    "float32": {
        "overhead": (0.0031, 1.12),
        "arithmetic": (0.026, 0.5),
        "memory": (0.0155, 0.55),
    },
}


def group_of(quantity: str) -> Group:
    """Returns the group that a quantity belongs to."""
    name = quantity.removeprefix("forward_")
    if name in _OVERHEAD:
        return "overhead"
    return "arithmetic" if name in _ARITHMETIC else "memory"


def seconds_by_group(quantities: Mapping[str, float], precision: Precision) -> dict[Group, float]:
    """Returns the seconds that quantities cost on the machine of these tables, by group."""
    coefficients = COEFFICIENTS[precision]
    seconds = dict.fromkeys(GROUPS, 0.0)
    for name, amount in quantities.items():
        seconds[group_of(name)] += amount * coefficients[name] * 1e-9
    return seconds


def compiling_seconds(step: Mapping[str, float]) -> float:
    """Returns the seconds to build, trace and compile a step on the machine of these tables."""
    return sum(seconds * step.get(name, 0.0) for name, seconds in COMPILING_SECONDS.items())
