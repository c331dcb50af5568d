"""Runs one job, ours or a peer's, in an empty folder and returns its figures."""

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison.commands import (
    database,
    judge_command,
    our_command,
    our_options,
    peer_command,
)
from benchmarks.comparison.curve import Curve, StudyWatch
from benchmarks.comparison.peers.records import VERDICT, WINNER, read_curve
from benchmarks.comparison.running import Ended, last_lines, run_limited
from benchmarks.comparison.works import OURS, Job

_LOG = "log.txt"
_JUDGE_SECONDS = 600.0


class FailedError(Exception):
    """A job wrote no result; the message contains the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of a job that go into its row."""

    seconds: float
    test_accuracy: float
    test_images: int
    curve: Curve
    winner: str
    command: str
    dtype_policy: str


def measure(
    job: Job, *, source: str, seconds: float, folder: Path, backbone: Path | None = None
) -> Measured:
    """Runs a job for the given seconds; `folder` is emptied first, then holds the job's files.

    Raises FailedError if the job writes no result.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if job.method in OURS:
        return _measure_ours(job, source, seconds, folder, backbone)
    return _measure_peer(job, source, seconds, folder)


def _environment(folder: Path) -> dict[str, str]:
    # Each row gets an empty cache; otherwise decoded images and features of earlier rows are free.
    return {"CNN_SEARCH_CACHE": str(folder / "cache")}


def _measure_ours(
    job: Job, source: str, seconds: float, folder: Path, backbone: Path | None
) -> Measured:
    from search.results.configuration_file import read_configuration

    options = our_options(job.method, source=source, seconds=seconds, seed=job.seed)
    command = our_command(options, folder=folder, backbone=backbone)
    watch = StudyWatch(database(folder))
    ended = run_limited(
        command,
        # It should end by itself in time; the row shows its actual duration.
        seconds=2 * seconds + 60,
        log=folder / _LOG,
        environment=_environment(folder),
        look=watch.look,
    )
    found = list((folder / "runs").rglob("metrics.json"))
    if ended.exit_code != 0 or not found:
        raise FailedError(_failure(command, ended, folder))
    directory = max(found, key=lambda path: path.stat().st_mtime).parent
    test = _read(directory / "metrics.json")["test"]
    shown = our_options(job.method, source=Path(source).name, seconds=seconds, seed=job.seed)
    if backbone is not None:
        shown += ["--backbone", backbone.name]
    return Measured(
        seconds=round(ended.seconds, 1),
        test_accuracy=test["accuracy"],
        test_images=test["images"],
        curve=watch.curve(ended.began),
        winner=read_configuration(directory / "best_config.json").candidate.summary(),
        command=shlex.join(["python", "-m", "search.run", *shown]),
        dtype_policy=_read(directory / "environment.json")["dtype_policy"],
    )


def _measure_peer(job: Job, source: str, seconds: float, folder: Path) -> Measured:
    command = peer_command(job.method, source=source, seed=job.seed, folder=folder)
    ended = run_limited(
        command, seconds=seconds, log=folder / _LOG, environment=_environment(folder)
    )
    judge = judge_command(source=source, seed=job.seed, folder=folder)
    judged = run_limited(
        judge,
        seconds=_JUDGE_SECONDS,
        log=folder / "judge.txt",
        environment=_environment(folder),
    )
    if ended.exit_code is not None or judged.exit_code != 0:
        # A peer's search runs until it is killed, so one that ended by itself has crashed.
        raise FailedError(_failure(command, ended, folder))
    verdict = _read(folder / VERDICT)
    return Measured(
        seconds=round(ended.seconds, 1),
        test_accuracy=verdict["accuracy"],
        test_images=verdict["images"],
        curve=read_curve(folder, ended.began),
        winner=(folder / WINNER).read_text(encoding="utf-8"),
        command=shlex.join(["python", *command[1:3], Path(source).name, "FOLDER", *command[5:]]),
        dtype_policy="float32",
    )


def _failure(command: list[str], ended: Ended, folder: Path) -> str:
    how = "was killed" if ended.exit_code is None else f"ended with exit code {ended.exit_code}"
    log = folder / _LOG
    return (
        f"{shlex.join(command)} {how} after {ended.seconds:.0f} s without a result. "
        f"{log} ends with:\n{last_lines(log)}"
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
