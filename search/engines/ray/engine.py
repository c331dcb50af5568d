"""The engine that runs a search on a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from search.engines.engine import Engine
from search.engines.job import WorkerJob
from search.engines.ray.cluster import RayCluster, connected
from search.engines.ray.pool import RayPool
from search.engines.workers import RayWorkers
from search.optimize.loop import searching
from search.trials.session import Session


class RayEngine(Engine):
    """Runs trials in workers on a Ray cluster; each has its share of a node's resources."""

    def __init__(self, workers: RayWorkers) -> None:
        self._workers = workers
        self._cluster: RayCluster | None = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        with connected(self._workers.address) as self._cluster:
            yield

    def search(self, session: Session) -> None:
        assert self._cluster is not None, "search() runs inside connected()"
        job = WorkerJob(
            experiment=session.experiment, lease_seconds=self._workers.limits.lease_seconds
        )
        with searching(session):
            RayPool(session, job, cluster=self._cluster, workers=self._workers).run()
