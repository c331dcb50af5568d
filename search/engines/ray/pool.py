"""Supervises workers on a Ray cluster: asks Ray for actors, and for new ones if some die."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.engines.channel import Command
from search.engines.job import WorkerJob
from search.engines.messages import LogPosition, Placed
from search.engines.pool import SECONDS_BETWEEN_LOOKS, PoolWorker, WorkerPool
from search.engines.ray.cluster import RayCluster, for_any_folder, image_bytes
from search.engines.ray.post_mortem import ask_node
from search.engines.ray.resources import WorkerResources
from search.engines.ray.worker import RayWorker
from search.engines.workers import RayWorkers
from search.progress.events import TrialStarted
from search.progress.words import counted
from search.system.crash import Death, DeathWatch
from search.system.runtime import ONEDNN_VARIABLE
from search.trials.session import Session

_SECONDS_TO_BE_PLACED = 20.0
_GIBIBYTE = 2**30
_KEPT_VARIABLES = ("KERAS_BACKEND", ONEDNN_VARIABLE)


class _Worker(PoolWorker):
    """A Ray actor; `arguments` and `options` are those of `RayWorker.run`, without its name."""

    def __init__(self, actor: Any, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.node: str | None = None
        self.address: str | None = None
        self.log: Path | None = None
        self.log_start = 0
        self.watch: DeathWatch | None = None
        self._actor = actor
        run = actor.run.options(num_returns="streaming")
        self.stream = run.remote(self.name, *arguments, **options)

    def command(self, command: Command) -> None:
        self._actor.command.options(concurrency_group="commands").remote(command)

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)

    def close(self) -> None:
        """Does nothing: Ray itself releases the resources of a killed actor."""


class RayPool(WorkerPool[_Worker]):
    """Keeps workers running on a cluster until no more trials are needed.

    `workers` gives their number; "auto" asks for as many as fit on the nodes, and for more when
    nodes join. The pool itself replaces an actor that dies. Ray's own restart would hide why it
    died, and a candidate that ran out of memory must not be tried again.
    """

    def __init__(
        self,
        session: Session,
        job: WorkerJob,
        *,
        cluster: RayCluster,
        workers: RayWorkers,
    ) -> None:
        job = replace(job, experiment=for_any_folder(job.experiment))
        super().__init__(session, job, limits=workers.limits)
        self._split = session.split
        self._experiment = job.experiment
        self._cluster = cluster
        self._number = workers.number
        self._resources = WorkerResources(cpus=workers.cpus, gpus=workers.gpus)
        self._images: Any = None

    def run(self) -> None:
        addresses = {node["NodeManagerAddress"] for node in self._cluster.nodes()}
        self._cluster.require_shared_storage(self._experiment.url, addresses=addresses)
        with self._interruption.deferred():
            self._send_images()
        try:
            super().run()
        finally:
            self._images = None

    def _send_images(self) -> None:
        self._images = self._cluster.store(self._split)
        size = f"{image_bytes(self._split) / _GIBIBYTE:.2f} GiB"
        if self._images is None:
            self._supervision.note(
                f"the images ({size}) are too large for the cluster's object store: every node "
                f"reads them from {self._experiment.data}"
            )
        else:
            self._supervision.note(f"Ray's object store shares the images ({size}) with all nodes")

    def _wanted_workers(self) -> int:
        places = self._cluster.places(self._resources)
        wanted = max(1, places) if self._number == "auto" else self._number
        return min(wanted, self._experiment.trials)

    def _start_missing(self) -> None:
        for _ in range(self._wanted_workers() - len(self._workers)):
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        import ray

        kind = ray.remote(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_restarts=0,
            concurrency_groups={"commands": 1},
        )(RayWorker)
        return _Worker(
            kind.remote(),
            self._supervision.job_now(),
            self._images,
            resources=self._resources,
            limits=self._limits,
            environment={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        )

    def _receive(self) -> None:
        import ray

        streams = [worker.stream for worker in self._workers]
        ready, _ = ray.wait(streams, timeout=SECONDS_BETWEEN_LOOKS, fetch_local=False)
        while ready:
            for worker in [worker for worker in self._workers if worker.stream in ready]:
                self._read(worker)
            streams = [worker.stream for worker in self._workers]
            if not streams:
                return
            ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)

    def _read(self, worker: _Worker) -> None:
        import ray

        try:
            message, worker.watch = ray.get(next(worker.stream))
        except StopIteration:
            # The actor's process outlives its work and keeps the training framework's memory.
            self._workers.remove(worker)
            worker.kill()
            return
        except ray.exceptions.RayError as error:
            self._bury(worker, error)
            return
        worker.heard = time.monotonic()
        match message:
            case Placed(node, address, log):
                worker.node, worker.address, worker.log = node, address, log
                self._cluster.require_shared_storage(self._experiment.url, addresses={address})
            case LogPosition(size):
                worker.log_start = size
            case TrialStarted():
                worker.has_begun = True
        self._supervision.show(message)

    def _bury(self, worker: _Worker, error: Exception) -> None:
        """Diagnoses how a worker died, and ends its trial."""
        self._workers.remove(worker)
        worker.kill()
        death = _death(worker, error)
        cause = _cause(error, worker.address, death)
        held = self._supervision.end_trials(
            worker.name, death=death, cause=cause, stalled=worker.stalled
        )
        if not held and not worker.has_begun:
            self._supervision.count_false_start(
                f"{cause}. {_last_line(error)}", most=2 * self._wanted_workers() + 1
            )

    def _look_after(self, worker: _Worker, *, silent: float) -> None:
        if worker.address is not None and silent > self._limits.stall_seconds:
            self._end_stalled(worker)
        elif worker.address is None and silent > _SECONDS_TO_BE_PLACED:
            self._supervision.note(self._waiting())

    def _waiting(self) -> str:
        needs = f"{self._resources.cpus:g} CPUs"
        if self._resources.gpus:
            needs += f" and {self._resources.gpus:g} GPUs"
        places = counted(self._cluster.places(self._resources), "worker")
        return f"waiting for Ray to place workers of {needs}: {places} fit on the current nodes"

    def _withdraw_unplaced(self) -> None:
        for worker in [worker for worker in self._workers if worker.address is None]:
            self._workers.remove(worker)
            worker.kill()


def _death(worker: _Worker, error: Exception) -> Death | None:
    """Returns what is known about a worker's death; None if it never sent a message."""
    import ray

    if worker.node is None or worker.watch is None:
        return None
    unseen = Death(None, None, False, worker.watch.peak_memory_mib)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return replace(unseen, signal="SIGKILL", out_of_memory=True)
    crashed = isinstance(error, ray.exceptions.ActorDiedError) and not _lost_node(error)
    if worker.stalled or not crashed:
        return unseen
    return ask_node(worker.node, worker.watch, log=worker.log, log_start=worker.log_start) or unseen


def _cause(error: Exception, address: str | None, death: Death | None) -> str:
    """Describes why Ray lost a worker."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        return f"its Ray worker failed: {_last_line(error)}"
    where = "" if address is None else f" at {address}"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return f"Ray killed its worker{where}, because the node ran out of memory"
    who = "Ray node" if _lost_node(error) else "Ray worker"
    how = f": {death.describe()}" if death is not None and death.signal else ""
    return f"its {who}{where} died{how}"


def _lost_node(error: Exception) -> bool:
    return "node has died" in str(error)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-500:] if lines else type(error).__name__
