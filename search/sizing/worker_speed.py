"""Measures how fast several processes train a candidate at once, one setting after another."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cnn_blocks.config import InputSpec
from search.sizing.choice import Measurement, Setting, choose, gains, worker_steps
from search.sizing.machine import Machine
from search.sizing.messages import Failed, Loaded, Round, Task
from search.sizing.timing_process import BusyTime, MeasurementError, MeasuringProcess
from search.system.runtime import Compute, Precision, Xla, cpu_has_bfloat16
from spaces.candidate import Candidate

# The faster of two windows counts, because disturbances (another program, shared memory bandwidth)
# only slow a window down.
_WINDOWS = 2
_WINDOW_SECONDS = 1.5
# For all settings together. A candidate that needs longer is too slow to plan automatically.
_LONGEST_SECONDS = 120.0
_SECONDS_BETWEEN_CHECKS = 0.1
# A margin for the kernel and for the error of the estimates.
_USABLE_SHARE = 0.9
# GPU memory that the driver and the libraries' kernels take per process.
_GPU_PROCESS_BYTES = 600 * 2**20


class Measured(BaseModel):
    """The result of measuring; `problem` says why it ended early.

    `others_share` is the largest share of CPU time that other programs took during a measurement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measurements: tuple[Measurement, ...]
    loaded: Loaded | None
    seconds: float
    others_share: float
    problem: str | None = None


def measure_workers(
    candidate: Candidate,
    spec: InputSpec,
    *,
    machine: Machine,
    compute: Compute,
    backend: str,
    environment: Callable[[Setting, int], Mapping[str, str]],
    check: Callable[[], None] = lambda: None,
    longest_seconds: float = _LONGEST_SECONDS,
) -> Measured:
    """Measures precisions and XLA ("auto" ones) with one process, then tries more processes.

    `environment` returns the environment variables of a setting's process by its number. `check` is
    called several times a second and may raise. If a process fails, the measurements so far are
    returned.
    """
    began = time.monotonic()
    sources = tuple(dict.fromkeys(candidate.model.sources().values()))
    with tempfile.TemporaryDirectory(prefix="cnn-search-") as folder:
        measuring = _Measuring(
            task=Task(candidate.to_json(), spec.model_dump_json(), sources, Path(folder)),
            machine=machine,
            environment=environment,
            check=check,
            deadline=began + longest_seconds,
        )
        problem = None
        try:
            measuring.measure(compute, backend)
        except MeasurementError as error:
            problem = str(error)
    return Measured(
        measurements=tuple(measuring.measurements),
        loaded=measuring.loaded,
        seconds=time.monotonic() - began,
        others_share=measuring.others_share,
        problem=problem,
    )


def most_workers(loaded: Loaded, machine: Machine) -> int:
    """Returns how many workers can train at once without running out of memory, at least one."""
    on_gpu = loaded.on_gpu and machine.free_gpu_memory is not None
    each = loaded.process_memory + (0 if on_gpu else loaded.training_memory)
    fitting = int(machine.free_memory * _USABLE_SHARE) // each
    if on_gpu:
        assert machine.free_gpu_memory is not None
        each = loaded.training_memory + _GPU_PROCESS_BYTES
        on_each_gpu = int(machine.free_gpu_memory * _USABLE_SHARE) // each
        fitting = min(fitting, on_each_gpu * len(machine.gpus))
    return max(1, fitting)


_DEVICE = "from search.system import runtime as r; r.start_keras(); print(r.device_kind())"


def uses_gpu(environment: Mapping[str, str]) -> bool:
    """Returns whether Keras would use a GPU; a separate process finds out."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _DEVICE],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.stdout.strip().endswith("gpu")


class _RoundFailure(Exception):
    """A training failed in the current setting; its processes are ready for the next one."""


class _Measuring:
    def __init__(
        self,
        *,
        task: Task,
        machine: Machine,
        environment: Callable[[Setting, int], Mapping[str, str]],
        check: Callable[[], None],
        deadline: float,
    ) -> None:
        self._task = task
        self._machine = machine
        self._environment = environment
        self._check = check
        self._deadline = deadline
        self.measurements: list[Measurement] = []
        self.loaded: Loaded | None = None
        self.others_share = 0.0

    @property
    def _fastest(self) -> Measurement:
        return choose(self.measurements)

    def measure(self, compute: Compute, backend: str) -> None:
        """Fills `measurements`; raises MeasurementError."""
        workers, threads = next(worker_steps(self._machine.cores, len(self._machine.gpus)))
        first = Setting(workers=workers, threads=threads, **asdict(compute))
        with self._processes(first) as processes:
            loaded: Loaded = self._receive(processes)[0]
            self.loaded = loaded
            precisions, compiling = _alternatives(compute, backend, on_gpu=loaded.on_gpu)
            failure = None
            for one in precisions:
                setting = first.model_copy(update={"precision": one, "xla": compiling[0]})
                failure = self._measure(processes, setting) or failure
            if not self.measurements:
                raise MeasurementError(f"the training failed: {failure}")
            best = self._fastest.setting
            for other in compiling[1:]:
                self._measure(processes, best.model_copy(update={"xla": other}))
        gpus = len(self._machine.gpus) if loaded.on_gpu else 0
        for workers, threads in list(worker_steps(self._machine.cores, gpus))[1:]:
            if workers > most_workers(loaded, self._machine):
                return
            before = self._fastest
            update = {"workers": workers, "threads": threads}
            setting = before.setting.model_copy(update=update)
            with self._processes(setting) as processes:
                self._receive(processes)
                failed = self._measure(processes, setting)
            if failed or not gains(self.measurements[-1], before):
                return

    @contextmanager
    def _processes(self, setting: Setting) -> Iterator[list[MeasuringProcess]]:
        processes: list[MeasuringProcess] = []
        try:
            for index in range(setting.workers):
                folder = self._task.folder / f"{setting.workers}-{index}"
                folder.mkdir()
                task = replace(self._task, folder=folder)
                processes.append(MeasuringProcess(task, self._environment(setting, index)))
            yield processes
        finally:
            for process in processes:
                process.end()

    def _measure(self, processes: Sequence[MeasuringProcess], setting: Setting) -> str | None:
        """Adds a setting's measurement; if a training failed, returns the reason instead."""
        measured = Round(setting.compute, _WINDOW_SECONDS)
        for process in processes:
            process.send(measured)
        try:
            # All processes share one window: it starts when the last process is warm.
            self._receive(processes)
            busy = BusyTime(processes)
            totals = []
            for _ in range(_WINDOWS):
                for process in processes:
                    process.send("go")
                totals.append(sum(self._receive(processes)))
            self.others_share = max(self.others_share, busy.others_share())
        except _RoundFailure as failure:
            return str(failure)
        finally:
            for process in processes:
                process.send("stop")
        self.measurements.append(Measurement(setting=setting, images_per_second=max(totals)))
        return None

    def _receive(self, processes: Sequence[MeasuringProcess]) -> list[Any]:
        """Returns the next message of each process; raises _RoundFailure if one failed."""
        messages = []
        for process in processes:
            while not process.connection.poll(_SECONDS_BETWEEN_CHECKS):
                self._check()
                if time.monotonic() > self._deadline:
                    raise MeasurementError("measuring took too long")
            messages.append(process.receive())
        for message in messages:
            if isinstance(message, Failed):
                raise _RoundFailure(message.reason)
        return messages


def _alternatives(
    compute: Compute, backend: str, *, on_gpu: bool
) -> tuple[list[Precision], list[Xla]]:
    """Returns the precisions and XLA modes to compare, the simplest first."""
    precisions: list[Precision] = ["float32"]
    if on_gpu:
        precisions += ["bfloat16", "float16"]
    elif cpu_has_bfloat16():
        precisions += ["bfloat16"]
    # On a CPU, XLA compiles slowly and the result runs slower. JAX always compiles.
    compiling: list[Xla] = ["on"] if backend == "jax" else ["off"]
    if on_gpu and backend != "jax":
        compiling = ["off", "auto"]
    return (
        precisions if compute.precision == "auto" else [compute.precision],
        compiling if compute.xla == "auto" else [compute.xla],
    )
