"""Workers on a Ray cluster: Ray finds each a place, and another one where it is lost."""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import optuna

from search.budget import Budget
from search.crash import Death
from search.engines.channel import Command
from search.engines.job import WorkerJob, WorkerLimits
from search.engines.ray_cluster import RayCluster, for_any_folder, image_bytes
from search.engines.ray_share import Share
from search.engines.ray_worker import RayWorker
from search.engines.supervision import Supervision
from search.engines.worker import SECONDS_TO_STOP
from search.errors import SearchInterrupted
from search.objective import TrialContext
from search.progress import counted

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_BE_PLACED = 20.0
# After such a gap between two looks, this process was suspended.
_SECONDS_SUSPENDED = 30.0
_GIBIBYTE = 2**30
_KEPT_VARIABLES = ("KERAS_BACKEND",)


class _Worker:
    """An actor of the cluster, as its supervisor sees it."""

    def __init__(self, actor: Any, name: str, stream: Any) -> None:
        self.name = name
        self.stream = stream
        self.address: str | None = None
        self.has_begun = self.stalled = False
        self.heard = time.monotonic()
        self._actor = actor

    def command(self, command: Command) -> None:
        """Tells the worker what to do; one that has died is not told."""
        self._actor.command.options(concurrency_group="commands").remote(command)

    def end(self) -> None:
        """Ends the actor at once."""
        import ray

        ray.kill(self._actor)


class RayWorkers:
    """Keeps workers on a cluster, until no trial is wanted any more.

    So many `workers` are asked for; "auto" asks for as many as fit on the nodes, and for more when
    nodes join. An actor that dies is asked for anew, rather than restarted by Ray, which would not
    say why it died: a candidate that ran out of memory must not be tried again.
    """

    def __init__(
        self,
        study: optuna.Study,
        context: TrialContext,
        job: WorkerJob,
        *,
        cluster: RayCluster,
        workers: int | Literal["auto"],
        share: Share,
        budget: Budget,
        limits: WorkerLimits,
    ) -> None:
        job = for_any_folder(job)
        self._supervision = Supervision(study, context, job, budget=budget, limits=limits)
        self._interruption = context.interruption
        self._split = context.split
        self._job = job
        self._cluster = cluster
        self._number = workers
        self._share = share
        self._limits = limits
        self._images: Any = None
        self._workers: list[_Worker] = []
        self._looked = 0.0
        self._watched = 0

    def run(self) -> None:
        """Works until the total or the budget is reached.

        Raises SearchInterrupted after Ctrl-C, when all workers have stopped in order; UserError and
        SearchFailure for what keeps workers from working at all.
        """
        addresses = {node["NodeManagerAddress"] for node in self._cluster.nodes()}
        self._cluster.require_shared_storage(self._job.storage, addresses=addresses)
        with self._interruption.deferred(), self._all_ended():
            self._send_images()
            while not self._interruption.requested:
                if self._look_around():
                    left = self._supervision.work_left()
                    if left.may_start:
                        self._start_missing()
                    else:
                        self._end_unplaced()
                        if not self._workers and self._supervision.is_over(left):
                            return
                self._receive()
            self._stop()
            raise SearchInterrupted

    def _send_images(self) -> None:
        self._images = self._cluster.store(self._split)
        size = f"{image_bytes(self._split) / _GIBIBYTE:.2f} GiB"
        if self._images is None:
            self._supervision.note(
                f"the images ({size}) would fill the cluster's object store: every node reads them "
                f"from {self._job.data}"
            )
        else:
            self._supervision.note(f"the images ({size}) reach nodes through Ray's object store")

    def _wanted_workers(self) -> int:
        places = self._cluster.places(self._share)
        wanted = max(1, places) if self._number == "auto" else self._number
        return min(wanted, self._job.trials)

    def _start_missing(self) -> None:
        missing = self._wanted_workers() - len(self._workers)
        for _ in range(missing):
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        import ray

        options = {"num_cpus": self._share.cpus, "num_gpus": self._share.gpus, "max_restarts": 0}
        kind = ray.remote(**options, concurrency_groups={"commands": 1})(RayWorker)
        actor = kind.remote()
        name = uuid.uuid4().hex
        stream = actor.run.options(num_returns="streaming").remote(
            self._supervision.job_now(),
            self._images,
            name,
            share=self._share,
            limits=self._limits,
            environment={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        )
        return _Worker(actor, name, stream)

    def _receive(self) -> None:
        import ray

        if not self._workers:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            return
        streams = [worker.stream for worker in self._workers]
        ready, _ = ray.wait(streams, timeout=_SECONDS_BETWEEN_LOOKS, fetch_local=False)
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
            event, details = ray.get(next(worker.stream))
        except StopIteration:
            # An actor's process outlives its work, and keeps what the training framework took.
            self._workers.remove(worker)
            worker.end()
            return
        except ray.exceptions.RayError as error:
            self._bury(worker, error)
            return
        worker.heard = time.monotonic()
        worker.has_begun |= event == "trial_started"
        if event == "placed":
            worker.address = details["address"]
            self._cluster.require_shared_storage(self._job.storage, addresses={details["address"]})
        elif event != "ready":
            self._supervision.show(event, details)

    def _bury(self, worker: _Worker, error: Exception) -> None:
        """Finds out how a worker ended, and what becomes of its trial."""
        import ray

        self._workers.remove(worker)
        worker.end()
        exhausted = isinstance(error, ray.exceptions.OutOfMemoryError)
        death = Death(None, "SIGKILL", True, None) if exhausted else None
        cause = _cause(error, worker.address)
        held = self._supervision.end_trials(
            worker.name, death=death, cause=cause, stalled=worker.stalled
        )
        if not held and not worker.has_begun:
            self._supervision.count_false_start(
                f"{cause}. {_last_line(error)}", most=2 * self._wanted_workers() + 1
            )

    def _look_around(self) -> bool:
        """Looks after the workers now and then, for that costs a look at all trials."""
        now = time.monotonic()
        since = now - self._looked
        # A worker that has just gone leaves a place.
        if since < _SECONDS_BETWEEN_LOOKS and len(self._workers) == self._watched:
            return False
        self._looked = now
        self._supervision.recover({worker.name for worker in self._workers})
        for worker in self._workers:
            if since > _SECONDS_SUSPENDED:
                worker.heard = now
            silent = now - worker.heard
            if worker.address is not None and silent > self._limits.stall_seconds:
                worker.stalled = True
                worker.end()
            elif worker.address is None and silent > _SECONDS_TO_BE_PLACED:
                self._supervision.note(self._waiting())
        self._watched = len(self._workers)
        return True

    def _waiting(self) -> str:
        needs = f"{self._share.cpus:g} CPUs"
        if self._share.gpus:
            needs += f" and {self._share.gpus:g} GPUs"
        places = counted(self._cluster.places(self._share), "worker")
        return f"waiting for Ray to place workers of {needs}: {places} fit on the nodes of now"

    def _end_unplaced(self) -> None:
        """Withdraws what still waits for a place, when there is nothing left to do there."""
        for worker in [worker for worker in self._workers if worker.address is None]:
            self._workers.remove(worker)
            worker.end()

    def _stop(self) -> None:
        """Lets the running trials write what they have, so that they can go on later."""
        self._end_unplaced()
        for worker in self._workers:
            worker.command("stop")
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._workers and time.monotonic() < deadline:
            self._receive()

    @contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Leaves no worker behind, whatever happens."""
        try:
            yield
        finally:
            for worker in self._workers:
                with contextlib.suppress(Exception):
                    worker.end()
            for worker in self._workers:
                self._supervision.interrupt_trials(worker.name)
            self._images = None


def _cause(error: Exception, address: str | None) -> str:
    """Returns in words how Ray lost a worker."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        return f"its Ray worker failed: {_last_line(error)}"
    where = "" if address is None else f" at {address}"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return f"Ray ended its worker{where}, because the node ran out of memory"
    who = "Ray node" if "node has died" in str(error) else "Ray worker"
    return f"its {who}{where} died"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-500:] if lines else type(error).__name__
