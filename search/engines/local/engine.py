"""The engine that runs a search in worker processes on this machine."""

from dataclasses import replace
from pathlib import Path

from search.engines.engine import Engine
from search.engines.job import WorkerJob
from search.engines.local.pool import LocalPool
from search.engines.workers import LocalWorkers
from search.optimize.loop import search, searching, work_left
from search.sizing.time_plan import default_candidate
from search.sizing.worker_plan import WorkerPlan, plan_workers
from search.training import feasibility
from search.trials.attempts import recover_abandoned
from search.trials.lease import LeaseWatch
from search.trials.session import Session

# Measuring takes about half a minute. A search of a few minutes is better off without it, and with
# trials that use all cores. Training on this many images (all trials together) takes some minutes.
_LEAST_SECONDS_TO_MEASURE = 1800.0
_LEAST_IMAGES_TO_MEASURE = 1_000_000


class LocalEngine(Engine):
    """Runs trials in worker processes, which write their logs to the folder `logs`."""

    def __init__(self, workers: LocalWorkers, *, logs: Path) -> None:
        self.workers = workers
        self._logs = logs

    def search(self, session: Session) -> None:
        limits = self.workers.limits
        # Workers also continue the trials that were running when an earlier start was killed.
        recover_abandoned(
            session.study, LeaseWatch(), retries=limits.retries, shared=session.shared
        )
        if work_left(session).is_none:
            # Only the retraining is left: measuring would waste time.
            search(session)
            return
        plan = self._plan(session)
        per_device = -(-plan.workers // max(1, len(plan.gpus)))
        job = WorkerJob(
            experiment=replace(session.experiment, compute=plan.compute),
            memory_bytes=feasibility.free_memory(on_gpu=bool(plan.gpus)) // per_device,
            lease_seconds=limits.lease_seconds,
        )
        host_memory = feasibility.free_memory(on_gpu=False) // plan.workers
        with searching(session):
            LocalPool(
                session, job, plan=plan, limits=limits, host_memory=host_memory, logs=self._logs
            ).run()

    def _plan(self, session: Session) -> WorkerPlan:
        number, experiment = self.workers.number, session.experiment
        if number == "auto" and _is_short(session):
            number = 1
        with session.interruption.deferred():
            plan = plan_workers(
                workers=number,
                compute=experiment.compute,
                candidate=default_candidate(session.spec, experiment.plan.task),
                spec=session.split.spec,
                progress=session.progress,
                check=session.interruption.check,
            )
        session.progress.note(plan.describe())
        return plan


def _is_short(session: Session) -> bool:
    seconds, epochs = session.time.seconds, session.spec.epochs
    if seconds is not None and seconds < _LEAST_SECONDS_TO_MEASURE:
        return True
    if epochs is None:
        return False
    images = len(session.split.train) * epochs * session.experiment.trials
    return images < _LEAST_IMAGES_TO_MEASURE
