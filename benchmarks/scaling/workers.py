"""Processes that run simulated trials; they are reused, because reading a long study is slow."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import optuna
import psutil
from optuna.samplers import BaseSampler, RandomSampler

from benchmarks.scaling.trial import CutError, Latencies, simulate
from search.optimize.sampling import ReseedingSampler
from search.storage import open_storage
from studies.shipped.depth_filters import study as spec
from studies.study import tree_parzen_sampler

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": tree_parzen_sampler,
}
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Opening:
    """Tells a worker to open a storage and to read a study once."""

    url: str
    study_name: str


@dataclass(frozen=True)
class Opened:
    """The answer: how long it took, the number of trials, and the worker's memory afterwards."""

    seconds: float
    trials: int
    memory_mib: float


@dataclass(frozen=True)
class Running:
    """Tells a worker to run trials for `seconds`; a trial still running at the limit is aborted."""

    sampler: str
    seconds: float
    limit_seconds: float


@dataclass(frozen=True)
class Ran:
    """The result of a worker in a cell; an `error` ended it early."""

    trials: int
    seconds: float
    processor_seconds: float
    latencies: dict[str, list[float]]
    cut: bool
    error: str | None


class NoAnswerError(Exception):
    """A worker did not answer in time, or died."""


class Workers:
    """Worker processes; each handles one request at a time, all of them in parallel."""

    def __init__(self, count: int) -> None:
        # A fork server with all imports done starts workers in milliseconds. It has no threads and
        # no connections, which must not be forked.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        pairs = [context.Pipe() for _ in range(count)]
        self._connections = [ours for ours, _ in pairs]
        self._processes = [
            context.Process(target=_serve, args=(theirs,), daemon=True) for _, theirs in pairs
        ]
        for process, (_, theirs) in zip(self._processes, pairs, strict=True):
            process.start()
            theirs.close()

    def close(self) -> None:
        """Kills the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def ask(self, count: int, request: Opening | Running, *, timeout: float) -> Sequence[Any]:
        """Sends the same request to the first `count` workers and returns their answers.

        Raises NoAnswerError if a worker does not answer within `timeout` seconds; then the workers
        are unusable.
        """
        connections = self._connections[:count]
        deadline = time.monotonic() + timeout
        try:
            for connection in connections:
                connection.send(request)
            answers = []
            for number, connection in enumerate(connections):
                if not connection.poll(max(0.0, deadline - time.monotonic())):
                    raise NoAnswerError(f"worker {number} did not answer within {timeout:.0f} s")
                answers.append(connection.recv())
        except (EOFError, OSError) as error:
            raise NoAnswerError(f"a worker died: {error!r}") from error
        return answers


def _serve(connection: Connection) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies: dict[Opening, optuna.Study] = {}
    study: optuna.Study | None = None
    while True:
        match connection.recv():
            case Opening() as opening:
                began = time.perf_counter()
                if opening not in studies:
                    studies = {opening: _open(opening)}
                study = studies[opening]
                trials = len(study.get_trials(deepcopy=False))
                memory = psutil.Process().memory_info().rss / _MEBIBYTE
                connection.send(Opened(time.perf_counter() - began, trials, memory))
            case Running() as running:
                assert study is not None
                connection.send(run(study, running))


def _open(opening: Opening) -> optuna.Study:
    return optuna.load_study(
        study_name=opening.study_name,
        storage=open_storage(opening.url),
        pruner=spec.make_pruner(),
    )


def run(study: optuna.Study, running: Running) -> Ran:
    """Runs trials for `running.seconds`; the last one runs to its end."""
    # The sampler's own seed does not matter, because it is reseeded for every trial.
    study.sampler = ReseedingSampler(SAMPLERS[running.sampler](0), seed=0)
    latencies = Latencies()
    began, processor_began = time.perf_counter(), time.process_time()
    trials, cut, problem, last = 0, False, None, began
    while last - began < running.seconds:
        try:
            simulate(study, latencies, give_up_at=began + running.limit_seconds)
        except CutError:
            cut = True
            break
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            break
        last = time.perf_counter()
        trials += 1
    return Ran(
        trials=trials,
        seconds=time.perf_counter() - began,
        processor_seconds=time.process_time() - processor_began,
        latencies=dict(latencies.seconds),
        cut=cut,
        error=problem,
    )
