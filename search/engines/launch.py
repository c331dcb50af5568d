"""A search by worker processes: how many, what each is told, and what remains for this process."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna

from cnn_blocks.errors import InfeasibleError, UserError
from search import feasibility
from search.attempts import recover_abandoned
from search.budget import Budget
from search.engines.job import WorkerJob, WorkerLimits
from search.engines.local import LocalWorkers
from search.engines.ray import RayWorkers
from search.engines.ray_cluster import RayCluster
from search.engines.ray_share import Share
from search.lease import LeaseWatch
from search.objective import TrialContext
from search.searching import search, search_session, work_left
from search.workers.plan import WorkerPlan, plan_workers
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial
from studies.study import StudySpec

# Measuring takes about half a minute; a search of minutes has a better use for it. So many images
# are trained on in some minutes.
_LEAST_SECONDS_TO_MEASURE = 300.0
_LEAST_IMAGES_TO_MEASURE = 1_000_000
_DRAWS = 20


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
            candidate=_typical_candidate(context.spec),
            spec=context.split.spec,
            progress=context.progress,
            check=context.interruption.check,
        )
    context.progress.note(plan.describe())
    return plan


def _is_short(context: TrialContext, trials: int, budget_seconds: float | None) -> bool:
    images = len(context.split.train) * context.spec.epochs * trials
    return images < _LEAST_IMAGES_TO_MEASURE or (
        budget_seconds is not None and budget_seconds < _LEAST_SECONDS_TO_MEASURE
    )


def _typical_candidate(spec: StudySpec) -> Candidate:
    """Returns the study's first trial, or one drawn at random where it names none."""
    wanted = spec.start[0] if spec.start else None
    for seed in range(_DRAWS):
        try:
            return spec.candidate(ProbeTrial(seed=seed, wanted=wanted))
        except InfeasibleError:
            continue
    raise UserError(
        f"A space must hold candidates that can be built; {_DRAWS} drawn at random from "
        f"{spec.name!r} were all infeasible. Look at it with --dry-run."
    )
