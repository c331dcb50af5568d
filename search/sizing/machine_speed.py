"""The training speed of this machine, measured with a few steps of small networks and cached."""

import hashlib
import importlib.metadata
import math
import os
import statistics
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from cnn_blocks.build import describe_model
from search.data.cache import default_cache_directory
from search.sizing.cache import backend_name
from search.sizing.coefficients import GROUPS, PROBES, Group, Precision, seconds_by_group
from search.sizing.machine import available_cores, visible_gpus
from search.sizing.probes import probe
from search.sizing.quantities import of_step
from search.sizing.timing import Timed, time_training
from search.sizing.timing_process import BusyTime
from search.system import runtime
from search.system.files import write_text

_FORMAT = 1
# Seconds per probe after its first step; tracing takes up to a second more.
_PROBE_SECONDS = 0.7
# A measurement is not cached if other programs took more than this share of the CPU.
_MOST_OTHERS_SHARE = 0.2
_ITERATIONS = 200


class MeasuredOn(BaseModel):
    """The cache key: everything that a machine's speed depends on.

    `device` is "cpu" or a GPU's model name; `compiled` says whether XLA is on; `onednn` is the
    value of TensorFlow's environment variable, if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: PositiveInt = _FORMAT
    backend: str
    policy: str
    compiled: bool
    onednn: str | None = None
    threads: PositiveInt
    processor: str
    device: str
    versions: Mapping[str, str | None] = {}


class MachineSpeed(BaseModel):
    """Factors for the shipped coefficients; 2 means twice as slow.

    Attributes:
        overhead: Scales the fixed costs of steps, layers and variables.
        arithmetic: Scales the cost of multiply-accumulates.
        memory: Scales the cost of moving elements.
        compiling: Scales the seconds until the end of the first step.
        others_share: The share of CPU time that other programs took during the measurement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured_on: MeasuredOn
    overhead: PositiveFloat = 1.0
    arithmetic: PositiveFloat = 1.0
    memory: PositiveFloat = 1.0
    compiling: PositiveFloat = 1.0
    others_share: float = 0.0

    @property
    def table(self) -> Precision:
        """The precision whose coefficients apply; float16 uses the coefficients of bfloat16."""
        return "float32" if self.measured_on.policy == "float32" else "bfloat16"

    @property
    def scales(self) -> Mapping[Group, float]:
        """The factor of each group of coefficients."""
        return {
            "overhead": self.overhead,
            "arithmetic": self.arithmetic,
            "memory": self.memory,
        }


def measured_speed(
    compute: runtime.Compute,
    *,
    cache_directory: Path | None = None,
    known: MachineSpeed | None = None,
) -> MachineSpeed:
    """Returns the speed of this process, from the cache or measured in about four seconds.

    Returns `known` if its key equals the key of this process. Starts Keras. A measurement on a busy
    machine is not cached. `cache_directory` replaces the user's default.
    """
    runtime.start_keras()
    key = measured_on(compute)
    if known is not None and known.measured_on == key:
        return known
    path = _path((cache_directory or default_cache_directory()) / "speed", key)
    kept = _read(path, key)
    if kept is not None:
        return kept
    busy = BusyTime([ThisProcess()])
    timed = {
        group: time_training(*probe(group), compute=compute, seconds=_PROBE_SECONDS, validate=False)
        for group in GROUPS
    }
    speed = speed_from(timed, key, others_share=busy.others_share())
    if speed.others_share <= _MOST_OTHERS_SHARE:
        # If the folder cannot be written, the next run measures again.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, speed.model_dump_json(indent=2) + "\n")
    return speed


def speed_from(
    timed: Mapping[Group, Timed], measured_on: MeasuredOn, *, others_share: float = 0.0
) -> MachineSpeed:
    """Returns the speed that best explains the probes' times."""
    plain = MachineSpeed(measured_on=measured_on, others_share=others_share)
    reference = PROBES[plain.table]
    ratios = {group: timed[group].step / reference[group][0] for group in GROUPS}
    compiling = statistics.median(timed[group].compiling / reference[group][1] for group in GROUPS)
    scales = {str(group): scale for group, scale in _explain(ratios, plain.table).items()}
    return plain.model_copy(update=scales | {"compiling": compiling})


def _explain(ratios: Mapping[Group, float], table: Precision) -> dict[Group, float]:
    """Returns the factor of each group; `ratios` are measured / reference times of the probes.

    Every probe has costs in all groups. Each iteration multiplies a group's factor by the probes'
    remaining error, weighted by the group's share of their time. Factors stay between the smallest
    and the largest ratio, because values outside are noise.
    """
    shares: dict[Group, dict[Group, float]] = {}
    for group in GROUPS:
        candidate, spec = probe(group)
        training = candidate.training
        quantities = of_step(describe_model(candidate.model, spec), training, training.batch_size)
        seconds = seconds_by_group(quantities, table)
        whole = sum(seconds.values())
        shares[group] = {part: spent / whole for part, spent in seconds.items()}
    mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios.values()))
    scales = dict.fromkeys(GROUPS, mean)
    for _ in range(_ITERATIONS):
        missed = {
            one: math.log(ratios[one] / sum(shares[one][part] * scales[part] for part in GROUPS))
            for one in GROUPS
        }
        for part in GROUPS:
            weight = sum(shares[one][part] for one in GROUPS)
            change = sum(shares[one][part] * missed[one] for one in GROUPS) / weight
            scaled = scales[part] * math.exp(change)
            scales[part] = min(max(scaled, min(ratios.values())), max(ratios.values()))
    return scales


def measured_on(compute: runtime.Compute) -> MeasuredOn:
    """Returns the cache key of this process; Keras must have started."""
    backend = backend_name()
    on_gpu = runtime.device_kind() == "gpu"
    given = os.environ.get("TF_NUM_INTRAOP_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    cores = available_cores()
    return MeasuredOn(
        backend=backend,
        policy=runtime.dtype_policy(compute.precision),
        compiled=runtime.jit_compile(compute.xla),
        onednn=os.environ.get(runtime.ONEDNN_VARIABLE) if backend == "tensorflow" else None,
        threads=min(cores, int(given)) if given.isdecimal() and int(given) else cores,
        processor=runtime.cpu_name(),
        device=next(iter(visible_gpus().values()), "gpu") if on_gpu else "cpu",
        versions={name: _version(name) for name in ("cnn-search", "keras", backend)},
    )


def _path(directory: Path, key: MeasuredOn) -> Path:
    return directory / f"{hashlib.sha256(key.model_dump_json().encode()).hexdigest()}.json"


def _read(path: Path, key: MeasuredOn) -> MachineSpeed | None:
    """Returns the cached speed, or None if it is missing, damaged or has another key."""
    try:
        kept = MachineSpeed.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return kept if kept.measured_on == key else None


def _version(distribution: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return None


class ThisProcess:
    """This process, for `BusyTime`."""

    def busy_seconds(self) -> float:
        """Returns the CPU seconds that this process has used."""
        times = psutil.Process().cpu_times()
        return float(times.user + times.system)
