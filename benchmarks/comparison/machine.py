"""The machine of a row: its processor, its speed, and the load by other programs."""

import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from search.system.runtime import cpu_has_bfloat16, cpu_name

# If other programs use more than this share of all cores, they distort the measurement.
BUSY = 0.2
# Images/s of the reference network (`speed.py`) on the machine for which the times were chosen.
REFERENCE_SPEED = 427
_ROOT = Path(__file__).resolve().parent.parent.parent


def describe_machine() -> dict[str, Any]:
    """Returns processor, cores, bfloat16 support, and the commit of the code."""
    return {
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "bfloat16": cpu_has_bfloat16(),
        "commit": _git("rev-parse", "HEAD"),
        # Uncommitted results are not a change of the code.
        "dirty": bool(
            _git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results")
        ),
    }


def busy_now(seconds: float = 2.0) -> float:
    """Returns the share of all cores that other programs use, from 0 to 1, over `seconds`."""
    return round(float(psutil.cpu_percent(interval=seconds)) / 100, 3)


class OthersUse:
    """Measures how much of the machine other programs use while our child processes run."""

    def __init__(self) -> None:
        self._began = time.monotonic(), _machine_seconds(), _own_seconds()

    def share(self) -> float:
        """Returns the share of all cores since the start, from 0 to 1.

        Child processes count as ours only after they have ended and been waited for.
        """
        began, machine, own = self._began
        available = (time.monotonic() - began) * (os.cpu_count() or 1)
        used = (_machine_seconds() - machine) - (_own_seconds() - own)
        return round(min(1.0, max(0.0, used / available)), 3)


def _machine_seconds() -> float:
    # Not only user + system: steal is time that another guest of the host took.
    times = psutil.cpu_times()._asdict()
    idle = times["idle"] + times.get("iowait", 0.0)
    # On Linux `user` includes guest time.
    return float(sum(times.values()) - idle - times.get("guest", 0) - times.get("guest_nice", 0))


def _own_seconds() -> float:
    whole = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        whole += usage.ru_utime + usage.ru_stime
    return whole


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
