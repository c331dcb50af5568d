"""A process that measures, as its parent sees it."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any, Protocol

import psutil

from search.sizing.messages import Task
from search.system.crash import DeathWatch

_LAST_WORDS = 2000


class MeasurementError(Exception):
    """A measuring process died or took too long; the message says what happened."""


class MeasuringProcess:
    """A measuring process, as its parent sees it."""

    def __init__(self, task: Task, environment: Mapping[str, str]) -> None:
        self._log = task.folder / "log"
        self.connection, theirs = Pipe()
        command = [sys.executable, "-m", "search.sizing.measured_training", str(theirs.fileno())]
        with self._log.open("wb") as words, theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )
        self._watch = DeathWatch(self._process.pid)
        self.send(task)

    def send(self, message: object) -> None:
        """Sends a message; that a process has died is found out when it does not answer."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Returns a message that is there; raises MeasurementError where the process has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            words = self._log.read_bytes()[-_LAST_WORDS:].decode(errors="replace")
            death = self._watch.diagnose(self._process.wait(), last_words=words)
            told = next((line for line in reversed(words.splitlines()) if line.strip()), "")
            reason = f": {told.strip()}" if told else ""
            text = f"a measuring process ended ({death.describe()}){reason}"
            raise MeasurementError(text) from None

    def busy_seconds(self) -> float:
        """Returns the processor time that the process has taken."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def end(self) -> None:
        """Leaves no process behind."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


class Busy(Protocol):
    """A process of ours."""

    def busy_seconds(self) -> float:
        """Returns the processor time that the process has taken."""


class BusyTime:
    """Tells how much of the processor's time programs other than ours take from now on."""

    def __init__(self, processes: Sequence[Busy]) -> None:
        self._processes = processes
        self._began = self._seconds()

    def others_share(self) -> float:
        """Returns their part of all cores' time, 0 to 1."""
        spent = [now - then for now, then in zip(self._seconds(), self._began, strict=True)]
        whole, idle, ours = spent
        return max(0.0, whole - idle - ours) / max(whole, 1e-9)

    def _seconds(self) -> tuple[float, float, float]:
        """Returns the seconds of all cores: all of them, the idle ones and those spent by us."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guests' time is among the user's already.
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return whole, idle, sum(process.busy_seconds() for process in self._processes)
