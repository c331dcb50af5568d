"""The parent's side of a measuring process."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import psutil

from search.sizing.messages import Task
from search.system.child_process import ChildProcess


class MeasurementError(Exception):
    """A measuring process died or took too long; the message says what happened."""


class MeasuringProcess:
    """The parent's handle of a measuring process."""

    def __init__(self, task: Task, environment: Mapping[str, str]) -> None:
        self._child = ChildProcess(
            "search.sizing.timing_program", environment=environment, log=task.folder / "log"
        )
        self.connection = self._child.connection
        self.send(task)

    def send(self, message: object) -> None:
        """Sends a message. If the process is dead, `receive` reports it."""
        self._child.send(message)

    def receive(self) -> Any:
        """Returns a waiting message; raises MeasurementError if the process has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            death = self._child.diagnose()
            lines = self._child.last_words().splitlines()
            told = next((line for line in reversed(lines) if line.strip()), "")
            reason = f": {told.strip()}" if told else ""
            text = f"a measuring process ended ({death.describe()}){reason}"
            raise MeasurementError(text) from None

    def busy_seconds(self) -> float:
        """Returns the CPU seconds that the process has used."""
        try:
            times = psutil.Process(self._child.id).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def end(self) -> None:
        """Kills the process and closes the connection."""
        self._child.kill()
        self._child.close()


class Busy(Protocol):
    """A process that belongs to the measurement."""

    def busy_seconds(self) -> float:
        """Returns the CPU seconds that the process has used."""


class BusyTime:
    """Measures the share of CPU time that other programs take from now on."""

    def __init__(self, processes: Sequence[Busy]) -> None:
        self._processes = processes
        self._began = self._seconds()

    def others_share(self) -> float:
        """Returns the other programs' share of all cores' time, 0 to 1."""
        spent = [now - then for now, then in zip(self._seconds(), self._began, strict=True)]
        whole, idle, ours = spent
        return max(0.0, whole - idle - ours) / max(whole, 1e-9)

    def _seconds(self) -> tuple[float, float, float]:
        """Returns seconds summed over all cores: in total, idle, and used by `processes`."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # User time already includes guest time.
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return whole, idle, sum(process.busy_seconds() for process in self._processes)
