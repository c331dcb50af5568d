"""The number of workers on this machine and their settings: given, or measured once and cached.

A plan is not part of a study's identity. The number of threads, the precision and XLA change a
training's results in the last bits, and so may decide between two equally good candidates. With
the same settings, a trial repeats bit for bit. Several workers finish trials in no fixed order, so
the candidates that a sampler suggests after its random start do not repeat.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cnn_blocks.config import InputSpec
from search.data.cache import default_cache_directory
from search.progress.events import Progress
from search.progress.words import counted, duration
from search.sizing.cache import backend_name, measurement_key, read_measured, write_measured
from search.sizing.choice import Measurement, Setting, choose
from search.sizing.machine import Machine, available_cores, visible_gpus
from search.sizing.worker_speed import Measured, measure_workers, most_workers, uses_gpu
from search.system.runtime import Compute, worker_environment
from search.training import feasibility
from spaces.candidate import Candidate

# If other programs took more than this share of the CPU, the measurement is used but not cached.
_MOST_OTHERS_SHARE = 0.2


@dataclass(frozen=True)
class WorkerPlan:
    """The settings of worker processes: CPU threads per worker, GPUs in turn, precision and XLA.

    `gpus` are identifiers for CUDA_VISIBLE_DEVICES, empty on a CPU; `gpu_memory` is the free memory
    of one GPU in bytes. `images_per_second` is the measured speed of all workers together. `origin`
    says how the plan was found. Precision and XLA stay "auto" if they were given as "auto" and
    nothing was measured. XLA is also "auto" if compiling was faster; "auto" compiles only networks
    that XLA supports.
    """

    workers: int
    threads: int
    compute: Compute
    gpus: tuple[str, ...] = ()
    gpu_memory: int | None = None
    measured: bool = False
    images_per_second: float | None = None
    alternatives: tuple[Measurement, ...] = ()
    origin: str = "not measured"

    @property
    def setting(self) -> Setting:
        """The part of the plan that can be measured."""
        return Setting(workers=self.workers, threads=self.threads, **asdict(self.compute))

    def environment(self, index: int) -> dict[str, str]:
        """Returns the variables that worker `index` needs in its environment before any import."""
        return _environment(self.setting, index, self.gpus, self.gpu_memory)

    def describe(self) -> str:
        """Returns one line: the setting, its speed and the alternatives', and the origin."""
        text = _words(self.setting)
        if self.images_per_second is not None:
            text += f": {self.images_per_second:,.0f} images/s"
            others = [
                f"{_words(other.setting, beside=self.setting)}: {other.images_per_second:,.0f}"
                for other in self.alternatives
            ]
            text += f" ({', '.join(others)})" if others else ""
        return f"{text}; {self.origin}"


def plan_workers(
    *,
    workers: int | Literal["auto"],
    compute: Compute,
    candidate: Candidate,
    spec: InputSpec,
    cache_directory: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> WorkerPlan:
    """Returns the plan for a number of workers; "auto" finds the number that trains fastest.

    "auto" trains the candidate for about half a minute in separate processes, on random images of
    the specification's shape, and caches the result for this machine. If measuring fails, the plan
    is the best one so far. This process does not use Keras or a GPU. `check` is called several
    times a second during the measurement and may raise.
    """
    names = visible_gpus()
    gpus = tuple(names)
    free_gpu_memory = feasibility.gpu_memory() if gpus else None
    cores = available_cores()
    if workers != "auto":
        given = WorkerPlan(
            workers, max(1, cores // workers), compute, gpus, gpu_memory=free_gpu_memory
        )
        # A backend built without CUDA does not use the GPUs.
        used = not gpus or uses_gpu(given.environment(0))
        return given if used else replace(given, gpus=(), gpu_memory=None)
    machine = Machine(
        cores=cores,
        gpus=gpus,
        free_memory=feasibility.free_memory(on_gpu=False),
        free_gpu_memory=free_gpu_memory,
    )
    directory = (cache_directory or default_cache_directory()) / "workers"
    key = measurement_key(
        candidate,
        spec,
        cores=machine.cores,
        gpus=tuple(names.values()),
        compute=compute,
    )
    found = read_measured(directory, key)
    kept = found is not None
    if found is None:
        (progress or Progress()).note(
            "measuring how many workers train fastest; this takes about half a minute, once for "
            "this machine and study"
        )
        found = measure_workers(
            candidate,
            spec,
            machine=machine,
            compute=compute,
            backend=backend_name(),
            environment=lambda setting, index: _environment(setting, index, gpus, free_gpu_memory),
            check=check,
        )
        if found.problem is None and found.others_share <= _MOST_OTHERS_SHARE:
            write_measured(directory, key, found)
    return _plan(found, machine, compute, kept=kept)


def _plan(found: Measured, machine: Machine, compute: Compute, *, kept: bool) -> WorkerPlan:
    origin = f"measured in {duration(found.seconds)}"
    if found.problem is not None:
        origin += f", incomplete, because {found.problem}"
    elif kept:
        origin = "measured earlier on this machine for this study"
    elif found.others_share > _MOST_OTHERS_SHARE:
        origin += (
            f", not cached, because other programs took {found.others_share:.0%} of the processor"
        )
    else:
        origin += ", cached for this machine and study"
    if not found.measurements or found.loaded is None:
        origin = f"not measured, because {found.problem}"
        return WorkerPlan(1, machine.cores, compute, machine.gpus, origin=origin)
    gpus = machine.gpus if found.loaded.on_gpu else ()
    chosen = choose(found.measurements, most_workers=most_workers(found.loaded, machine))
    return WorkerPlan(
        workers=chosen.setting.workers,
        threads=chosen.setting.threads,
        compute=chosen.setting.compute,
        gpus=gpus,
        gpu_memory=machine.free_gpu_memory if gpus else None,
        measured=True,
        images_per_second=chosen.images_per_second,
        alternatives=tuple(other for other in found.measurements if other is not chosen),
        origin=origin,
    )


def _environment(
    setting: Setting, index: int, gpus: tuple[str, ...], gpu_memory: int | None
) -> dict[str, str]:
    if not gpus:
        return worker_environment(threads=setting.threads)
    return worker_environment(
        threads=setting.threads,
        gpu=gpus[index % len(gpus)],
        sharing=-(-setting.workers // len(gpus)),
        gpu_memory=gpu_memory,
    )


def _words(setting: Setting, *, beside: Setting | None = None) -> str:
    """Returns a setting in words, without a precision and XLA equal to those of `beside`."""
    parts = [f"{counted(setting.workers, 'worker')} x {counted(setting.threads, 'thread')}"]
    if setting.precision not in ("auto", None if beside is None else beside.precision):
        parts.append(setting.precision)
    if beside is not None and setting.xla != beside.xla:
        parts.append("without XLA" if setting.xla == "off" else "with XLA")
    return ", ".join(parts)
