"""Measures how fast some processes train a candidate at once, one setting after another."""

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
from search.sizing.measuring_process import BusyTime, MeasurementError, MeasuringProcess
from search.sizing.messages import Failed, Loaded, Round, Task
from search.system.runtime import Compute, Precision, Xla, cpu_has_bfloat16
from spaces.candidate import Candidate

# The faster of two windows counts: what disturbs one, another program or a neighbour on the same
# memory, only ever slows it.
_WINDOWS = 2
_WINDOW_SECONDS = 1.5
# For everything: what takes longer trains so slowly that a search of it must be planned by hand.
_LONGEST_SECONDS = 120.0
_SECONDS_BETWEEN_CHECKS = 0.1
# Estimates are estimates, and the kernel needs air as well.
_USABLE_SHARE = 0.9
# The driver's own share of every process, and the libraries' kernels.
_GPU_PROCESS_BYTES = 600 * 2**20


class Measured(BaseModel):
    """What came out; `problem` says why a measurement ended before its time.

    `others_share` is the largest part of the processor's time that other programs took meanwhile.
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
    """Measures precision and XLA with one process where they are "auto", then more processes.

    `environment` gives the environment variables of a setting's process by its number. `check` is
    called several times a second and may raise. Never raises for what a process does: what was
    measured until then is returned.
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
    """Returns how many workers' trainings fit into the memory at once, at least one."""
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
    """Returns whether Keras would compute on a GPU, found out by another process."""
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
    """A training failed in the setting that is measured; its processes are ready for another."""


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
        """Adds a setting's measurement; returns why there is none where a training failed."""
        measured = Round(setting.compute, _WINDOW_SECONDS)
        for process in processes:
            process.send(measured)
        try:
            # The same window for all: each says when it is warm, and none starts before the last.
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
        """Returns the next message of each process; raises _RoundFailure where one failed."""
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
    """Returns the precisions and the uses of XLA to compare, the plainest first."""
    precisions: list[Precision] = ["float32"]
    if on_gpu:
        precisions += ["bfloat16", "float16"]
    elif cpu_has_bfloat16():
        precisions += ["bfloat16"]
    # On a CPU, XLA takes long to compile what then runs slower; JAX always compiles.
    compiling: list[Xla] = ["on"] if backend == "jax" else ["off"]
    if on_gpu and backend != "jax":
        compiling = ["off", "auto"]
    return (
        precisions if compute.precision == "auto" else [compute.precision],
        compiling if compute.xla == "auto" else [compute.xla],
    )
