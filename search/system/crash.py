"""Finds out how a process died, and whether it ran out of memory."""

import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from search.system.control_groups import memory_groups

# What libraries write when an allocation fails for good. TensorFlow's "ran out of memory" warnings
# do not count: TensorFlow retries with less memory.
_WORDS_OF_EXHAUSTION = re.compile(
    r"std::bad_alloc|Cannot allocate memory|RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY"
    r"|\bMemoryError\b|\bOutOfMemoryError\b|CUDA out of memory|OOM when allocating"
)
# What Python's fault handler writes when one of these signals ends the process.
_FATAL_ERROR = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_FATAL_SIGNALS = {
    "Segmentation fault": "SIGSEGV",
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Floating point exception": "SIGFPE",
    "Illegal instruction": "SIGILL",
}
# The kernel counts a kill when it sends the signal. A process with much memory takes seconds after
# that to exit.
_SECONDS_TO_DIE = 10.0
# In bytes. A dump of all threads follows the error message.
_LAST_WORDS = 20_000


@dataclass(frozen=True)
class Death:
    """How a process ended: with an exit code or by a signal; memory in MiB.

    Both are None if its exit code is unknown.
    """

    exit_code: int | None
    signal: str | None
    out_of_memory: bool
    peak_memory_mib: int | None

    def describe(self) -> str:
        """Returns, for example, "killed by SIGKILL (out of memory), peak memory 812 MiB"."""
        how = "died"
        if self.signal:
            how = f"killed by {self.signal}"
        elif self.exit_code is not None:
            how = f"exited with code {self.exit_code}"
        memory = self.peak_memory_mib
        return (
            how
            + (" (out of memory)" if self.out_of_memory else "")
            + (f", peak memory {memory} MiB" if memory is not None else "")
        )


class DeathWatch:
    """Collects facts about a process that are available only while it is alive."""

    def __init__(self, process_id: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._process_id = process_id
        self._clock = clock
        self._peak = 0
        self._samples: deque[tuple[float, Path, int]] = deque()
        self.sample()

    def sample(self) -> None:
        """Records the peak memory so far and the kernel's count of out-of-memory kills.

        Call it about once a second: an out-of-memory kill is attributed to this process if it
        happens within the ten seconds before its death.
        """
        self._peak = max(self._peak, _peak_memory(self._process_id))
        now = self._clock()
        for file in _counters(self._process_id):
            kills = _kills(file)
            if kills is not None:
                self._samples.append((now, file, kills))
                break
        while len(self._samples) > 1 and now - self._samples[1][0] >= _SECONDS_TO_DIE:
            self._samples.popleft()

    @property
    def peak_memory_mib(self) -> int | None:
        """The largest memory of all samples, in MiB."""
        return self._peak // 2**20 or None

    def diagnose(self, exit_code: int, *, last_words: str = "") -> Death:
        """Returns how the process died, given its exit code (negative: a signal).

        `last_words` is the end of its output. A process killed by SIGKILL writes nothing about it;
        then only the kernel's count is evidence of an out-of-memory kill.
        """
        name = _signal_name(-exit_code) if exit_code < 0 else None
        if name == "SIGKILL":
            exhausted = self._kernel_killed()
        else:
            exhausted = exit_code != 0 and bool(_WORDS_OF_EXHAUSTION.search(last_words))
        return Death(None if name else exit_code, name, exhausted, self.peak_memory_mib)

    def diagnose_unseen(self, *, last_words: str) -> Death:
        """Returns what is known of a process that died without its exit code being read.

        A signal is known if the fault handler wrote about it. Otherwise an out-of-memory kill that
        the kernel counted is attributed to this process. Any other end leaves no trace.
        """
        told = _FATAL_ERROR.findall(last_words)
        name = _FATAL_SIGNALS.get(told[-1]) if told else None
        exhausted = name is not None and bool(_WORDS_OF_EXHAUSTION.search(last_words))
        if name is None and self._kernel_killed():
            name, exhausted = "SIGKILL", True
        return Death(None, name, exhausted, self.peak_memory_mib)

    def _kernel_killed(self) -> bool:
        if not self._samples:
            return False
        _, file, before = self._samples[0]
        return (_kills(file) or 0) > before


def last_words(log: Path, *, start: int = 0) -> str:
    """Returns the end of a process's log, at most from byte `start` on; "" without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - _LAST_WORDS))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _peak_memory(process_id: int) -> int:
    """Returns the peak memory in bytes, or the current memory if the peak is not recorded."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(errors="replace")
    except OSError:
        status = ""
    if peak := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
        return int(peak[1]) * 1024
    try:
        memory = psutil.Process(process_id).memory_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "peak_wset", memory.rss))


def _counters(process_id: int) -> Iterator[Path]:
    """Yields the files that may count out-of-memory kills, closest to the process first.

    The control group's file precedes the machine's, which also counts kills in other containers.
    """
    for group in memory_groups(process_id):
        yield group / "memory.oom_control"
        yield group / "memory.events"
    yield Path("/proc/vmstat")


def _kills(file: Path) -> int | None:
    try:
        count = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(count[1]) if count else None
