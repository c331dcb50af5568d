"""A search by worker processes: how many, what each is told, and what remains for this process."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna

from search.engines.job import WorkerJob, WorkerLimits
from search.engines.local import LocalWorkers
from search.engines.ray.cluster import RayCluster
from search.engines.ray.engine import RayWorkers
from search.engines.ray.resources import Share
from search.optimize.budget import Budget
from search.optimize.loop import search, search_session, work_left
from search.sizing.time_plan import default_candidate
from search.sizing.worker_plan import WorkerPlan, plan_workers
from search.training import feasibility
from search.trials.attempts import recover_abandoned
from search.trials.context import TrialContext
from search.trials.lease import LeaseWatch

# Measuring takes about half a minute; a search of minutes has a better use for it, and for trials
# that have all cores. So many images are trained on in some minutes.
_LEAST_SECONDS_TO_MEASURE = 1800.0
_LEAST_IMAGES_TO_MEASURE = 1_000_000


def search_with_workers(
    study: optuna.Study,
    context: TrialContext,
    job: WorkerJob,
    *,
    workers: int | Literal["auto"],
    budget_seconds: float | None,
    limits: WorkerLimits,
    logs: Path,
) -> None:
    """Does what `search` does, in worker processes; their logs go into a folder.

    Raises SearchInterrupted after Ctrl-C, and SearchFailure when no trial completes.
    """
    # What the last start left running when it was killed is still to be done, by workers.
    recover_abandoned(study, LeaseWatch(), retries=limits.retries, shared=context.shared)
    if work_left(study, job.trials, Budget(None)).is_none:
        # Nothing is left but the retraining: measuring would be lost time.
        search(study, context, trials=job.trials, budget_seconds=budget_seconds)
        return
    plan = _plan(context, workers, trials=job.trials, budget_seconds=budget_seconds)
    sharing = -(-plan.workers // max(1, len(plan.gpus)))
    share = feasibility.free_memory(on_gpu=bool(plan.gpus)) // sharing
    job = replace(
        job,
        precision=plan.precision,
        xla=plan.xla,
        memory_bytes=share,
        lease_seconds=limits.lease_seconds,
    )
    host_memory = feasibility.free_memory(on_gpu=False) // plan.workers
    with search_session(study, context, trials=job.trials, budget_seconds=budget_seconds) as budget:
        LocalWorkers(
            study,
            context,
            job,
            plan=plan,
            budget=budget,
            limits=limits,
            host_memory=host_memory,
            logs=logs,
        ).run()


def search_on_ray(
    study: optuna.Study,
    context: TrialContext,
    job: WorkerJob,
    *,
    cluster: RayCluster,
    workers: int | Literal["auto"],
    share: Share,
    budget_seconds: float | None,
    limits: WorkerLimits,
) -> None:
    """Does what `search` does, in workers on a Ray cluster that each take a share of a node.

    Raises SearchInterrupted after Ctrl-C, and SearchFailure when no trial completes.
    """
    job = replace(
        job,
        precision=context.precision,
        xla=context.xla,
        lease_seconds=limits.lease_seconds,
    )
    with search_session(study, context, trials=job.trials, budget_seconds=budget_seconds) as budget:
        RayWorkers(
            study,
            context,
            job,
            cluster=cluster,
            workers=workers,
            share=share,
            budget=budget,
            limits=limits,
        ).run()


def _plan(
    context: TrialContext,
    workers: int | Literal["auto"],
    *,
    trials: int,
    budget_seconds: float | None,
) -> WorkerPlan:
    if workers == "auto" and _is_short(context, trials, budget_seconds):
        workers = 1
    with context.interruption.deferred():
        plan = plan_workers(
            workers=workers,
            precision=context.precision,
            xla=context.xla,
            candidate=default_candidate(context.spec, context.plan.task),
            spec=context.split.spec,
            progress=context.progress,
            check=context.interruption.check,
        )
    context.progress.note(plan.describe())
    return plan


def _is_short(context: TrialContext, trials: int, budget_seconds: float | None) -> bool:
    if budget_seconds is not None and budget_seconds < _LEAST_SECONDS_TO_MEASURE:
        return True
    epochs = context.spec.epochs
    images = None if epochs is None else len(context.split.train) * epochs * trials
    return images is not None and images < _LEAST_IMAGES_TO_MEASURE
