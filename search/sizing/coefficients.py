"""The cost of each quantity in nanoseconds, on the machine where the coefficients were fitted.

`python -m benchmarks.cost_prediction --fit` prints these tables. `MachineSpeed` scales each group
of coefficients for the current machine.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Group: TypeAlias = Literal["overhead", "arithmetic", "memory"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Coefficients: TypeAlias = Mapping[str, float]

GROUPS: tuple[Group, ...] = ("overhead", "arithmetic", "memory")
_OVERHEAD = {"steps", "layers", "variables", "augmentations"}
_ARITHMETIC = {"multiplies", "gathered", "scattered"}

# Depthwise convolutions in float32 use the coefficients of bfloat16: too few were measured.
COEFFICIENTS: Mapping[Precision, Coefficients] = {
    "bfloat16": {
        "steps": 663000.0,
        "layers": 4870.0,
        "variables": 6850.0,
        "parameters": 2.08,
        "multiplies": 0.0175,
        "gathered": 0.0,
        "scattered": 0.0,
        "depthwise": 0.266,
        "convolved": 0.0,
        "simple": 1.54,
        "smooth": 3.35,
        "gelu": 6.56,
        "batch_normalized": 4.07,
        "normalized": 7.08,
        "dropped": 2.79,
        "maximized": 0.0,
        "averaged": 0.0,
        "resized": 3.0,
        "pixels": 0.0392,
        "augmentations": 881000.0,
        "augmented": 6.59,
        "forward_steps": 2360000.0,
        "forward_layers": 0.0,
        "forward_multiplies": 0.005,
        "forward_gathered": 0.0,
        "forward_scattered": 0.0,
        "forward_depthwise": 0.0387,
        "forward_convolved": 0.0661,
        "forward_simple": 0.0,
        "forward_smooth": 0.264,
        "forward_gelu": 2.61,
        "forward_batch_normalized": 0.631,
        "forward_normalized": 2.8,
        "forward_dropped": 0.0,
        "forward_maximized": 0.0504,
        "forward_averaged": 0.375,
        "forward_resized": 2.63,
        "forward_pixels": 2.12,
    },
    "float32": {
        "steps": 2810000.0,
        "layers": 17200.0,
        "variables": 0.0,
        "parameters": 3.07,
        "multiplies": 0.0279,
        "gathered": 0.0,
        "scattered": 0.0,
        "depthwise": 0.266,
        "convolved": 0.0,
        "simple": 1.97,
        "smooth": 3.71,
        "gelu": 3.76,
        "batch_normalized": 4.43,
        "normalized": 8.98,
        "dropped": 7.69,
        "maximized": 0.0,
        "averaged": 0.0,
        "resized": 3.9,
        "pixels": 0.0539,
        "augmentations": 0.0,
        "augmented": 2.91,
        "forward_steps": 1910000.0,
        "forward_layers": 0.0,
        "forward_multiplies": 0.00895,
        "forward_gathered": 0.0,
        "forward_scattered": 0.0,
        "forward_depthwise": 0.0387,
        "forward_convolved": 0.213,
        "forward_simple": 0.0,
        "forward_smooth": 0.597,
        "forward_gelu": 1.61,
        "forward_batch_normalized": 0.666,
        "forward_normalized": 2.56,
        "forward_dropped": 0.0,
        "forward_maximized": 0.0905,
        "forward_averaged": 0.563,
        "forward_resized": 8.68,
        "forward_pixels": 3.14,
    },
}

# Seconds until the first step, per unit of each quantity. `forward_layers` is an estimate.
COMPILING_SECONDS = {
    "steps": 0.0,
    "layers": 0.0308,
    "variables": 0.0149,
    "augmentations": 0.139,
    "forward_layers": 0.01,
}

# Seconds that the probes of `machine_speed` took on the same machine: for one step, and until the
# end of the first step.
PROBES: Mapping[Precision, Mapping[Group, tuple[float, float]]] = {
    "bfloat16": {
        "overhead": (0.0025, 1.11),
        "arithmetic": (0.0149, 0.473),
        "memory": (0.0141, 0.543),
    },
    "float32": {
        "overhead": (0.00338, 1.01),
        "arithmetic": (0.0229, 0.514),
        "memory": (0.0109, 0.497),
    },
}


def group_of(quantity: str) -> Group:
    """Returns the group that a quantity belongs to."""
    name = quantity.removeprefix("forward_")
    if name in _OVERHEAD:
        return "overhead"
    return "arithmetic" if name in _ARITHMETIC else "memory"


def seconds_by_group(quantities: Mapping[str, float], precision: Precision) -> dict[Group, float]:
    """Returns the seconds that quantities cost on the reference machine, by group."""
    coefficients = COEFFICIENTS[precision]
    seconds = dict.fromkeys(GROUPS, 0.0)
    for name, amount in quantities.items():
        seconds[group_of(name)] += amount * coefficients[name] * 1e-9
    return seconds


def compiling_seconds(step: Mapping[str, float]) -> float:
    """Returns the seconds to build, trace and compile a step on the reference machine."""
    return sum(seconds * step.get(name, 0.0) for name, seconds in COMPILING_SECONDS.items())
