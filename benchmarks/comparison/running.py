"""Runs a command with a time limit and ends its child processes; the folders that runs write to."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """How a command ended; `exit_code` is None if it was killed at the limit.

    `began` is the start time in seconds since 1970, `seconds` the duration.
    """

    began: float
    seconds: float
    exit_code: int | None


def run_limited(
    command: Sequence[str],
    *,
    seconds: float,
    log: Path,
    environment: Mapping[str, str] | None = None,
    look: Callable[[], None] = lambda: None,
    look_every: float = 1.0,
) -> Ended:
    """Runs a command in the repository's root for at most `seconds`.

    Its output goes to the file `log`; `look` is called every `look_every` seconds while it runs. A
    command that reaches the limit is killed together with its child processes. An infinite limit
    is allowed.
    """
    with log.open("wb") as output:
        began, started = time.time(), time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Its own process group, so that its workers are killed with it.
            start_new_session=True,
        )
        exit_code = None
        try:
            while (left := started + seconds - time.monotonic()) > 0:
                try:
                    exit_code = process.wait(timeout=min(left, look_every))
                    break
                except subprocess.TimeoutExpired:
                    look()
        finally:
            ended = time.monotonic()
            _kill_group(process)
    return Ended(began=began, seconds=ended - started, exit_code=exit_code)


def last_lines(log: Path, count: int = 5) -> str:
    """Returns the end of a log, for an error message."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.strip().splitlines()[-count:])


def cache_folder(name: str) -> Path:
    """Returns a folder in the user's cache folder; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / name


def outside_repository(folder: Path) -> Path:
    """Returns the absolute path of a folder; raises BadParameter if it is in the repository."""
    folder = folder.expanduser().resolve()
    if folder == ROOT or ROOT in folder.parents:
        raise typer.BadParameter(f"Runs must write outside the repository; {folder} is in {ROOT}.")
    return folder


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # Raised if no process of the group is left; macOS raises PermissionError.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
