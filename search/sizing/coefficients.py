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
_OVERHEAD = {"steps", "layers", "variables"}
_ARITHMETIC = {"multiplies", "gathered", "scattered"}

COEFFICIENTS: dict[Precision, Coefficients] = {
    "bfloat16": {
        "steps": 3e6,
        "layers": 8e4,
        "variables": 1e4,
        "parameters": 0.5,
        "multiplies": 0.008,
        "gathered": 0.2,
        "scattered": 0.2,
        "depthwise": 0.3,
        "convolved": 1.0,
        "simple": 1.0,
        "smooth": 4.0,
        "batch_normalized": 3.0,
        "normalized": 8.0,
        "dropped": 3.0,
        "maximized": 2.0,
        "averaged": 5.0,
        "resized": 3.0,
        "pixels": 1.0,
        "augmented": 6.0,
        "forward_steps": 1e6,
        "forward_layers": 2e4,
        "forward_multiplies": 0.0027,
        "forward_gathered": 0.05,
        "forward_scattered": 0.05,
        "forward_depthwise": 0.06,
        "forward_convolved": 0.3,
        "forward_simple": 0.3,
        "forward_smooth": 1.0,
        "forward_batch_normalized": 0.6,
        "forward_normalized": 2.0,
        "forward_dropped": 0.0,
        "forward_maximized": 0.5,
        "forward_averaged": 0.5,
        "forward_resized": 2.0,
        "forward_pixels": 1.0,
    },
}
COEFFICIENTS = {**COEFFICIENTS, "float32": {**COEFFICIENTS["bfloat16"], "multiplies": 0.016}}

# Seconds until the end of the first step: a constant, and for each layer with and without gradient.
COMPILING_SECONDS = {"steps": 0.8, "layers": 0.05, "forward_layers": 0.01}

# Seconds that the probes of `machine_speed` took on the same machine: one step, and compiling.
PROBES: Mapping[Precision, Mapping[str, tuple[float, float]]] = {
    "bfloat16": {"overhead": (0.0032, 0.91), "arithmetic": (0.025, 0.43), "memory": (0.024, 0.43)},
    "float32": {"overhead": (0.0040, 0.94), "arithmetic": (0.04, 0.47), "memory": (0.018, 0.41)},
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
