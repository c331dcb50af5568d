"""Candidates that no machine can train, among small ones that it can."""

from collections import Counter
from collections.abc import Callable

import psutil
import pytest

from search.storage import TrialAttribute
from search.trials.outcomes import Outcome, outcome_of
from tests.support.fault_runs import Place, with_outcome

pytestmark = pytest.mark.faults

TRIALS, WORKERS = 50, 2
HOSTILE = '''
"""Most candidates are far too large, each in a different way."""
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from optuna.samplers import RandomSampler
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from studies.study import StudySpec


def space(trial):
    kind = trial.suggest_categorical("kind", ["wide", "batch", "dense", "small"])
    filters = trial.suggest_int("filters", 4, 16)
    batch, head = 64, Pooled()
    if kind == "wide":
        # Two 3x3 convolutions with 10,600 filters between them: 10^9 weights.
        filters = trial.suggest_int("wide_filters", 10_600, 20_000)
    elif kind == "batch":
        # 65,536 images at once, and every activation of a wide network for each of them.
        filters, batch = trial.suggest_int("batch_filters", 4096, 8192), 65_536
    elif kind == "dense":
        # A dense layer of at least 10^8 units after flattening.
        units = trial.suggest_int("units", 10**8, 2 * 10**8)
        head = Pooled(pooling="flatten", layers=(DenseLayer(units=units),))
    backbone = staged(
        Plain(), filters=[filters, filters], depth=1, reduction="max", place="first",
        dropout=[0.0, 0.0],
    )
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    return Candidate(
        model=ModelConfig(backbone=backbone, head=head),
        training=TrainingConfig(batch_size=batch, optimizer="adam", learning_rate=rate),
    )


study = StudySpec(
    name="faults", description="Hostile.", space=space, data="digits", trials=50, epochs=1,
    first_rung=1, reports_per_epoch=1, retrain_epochs=1, workers=0,
    sampler=lambda seed: RandomSampler(seed=seed),
    start=({"kind": "small", "filters": 4, "learning_rate": 1e-3},),
)
'''


def test_fifty_hostile_candidates_cost_neither_the_run_nor_its_memory(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(study=HOSTILE)
    share = psutil.virtual_memory().available // WORKERS
    run = place.start(workers=WORKERS, trials=TRIALS, retrain=False)
    peaks: dict[int, int] = {}

    def over() -> bool:
        for worker in run.workers():
            try:
                held = worker.memory_info().rss
            except psutil.Error:
                continue
            peaks[worker.pid] = max(peaks.get(worker.pid, 0), held)
        return run.process.poll() is not None

    while not over():
        run.process.poll()
        psutil.wait_procs(run.workers(), timeout=0.05)
    run.succeeds()

    trials = place.checked(TRIALS)
    outcomes = Counter(outcome_of(trial) for trial in trials)
    kinds = Counter(trial.params["kind"] for trial in trials)
    shown = {outcome.value: count for outcome, count in outcomes.items()}
    print(f"{shown}, {dict(kinds)}, most memory {max(peaks.values()) / 2**20:.0f} MiB")
    assert outcomes[Outcome.CRASHED] == outcomes[Outcome.FAILED] == 0
    assert max(peaks.values()) < share
    assert {"wide", "batch", "dense", "small"} == set(kinds)
    for trial in trials:
        hostile = trial.params["kind"] != "small"
        assert hostile == (outcome_of(trial) is Outcome.INFEASIBLE), trial.user_attrs
        if hostile:
            assert "must fit into the free memory" in trial.user_attrs[TrialAttribute.REASON]
            assert trial.constraints == {"memory": 1.0}
    assert with_outcome(trials, Outcome.COMPLETE)
    assert len(peaks) == WORKERS
