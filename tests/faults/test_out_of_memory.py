"""A candidate that needs far more memory than its shapes show, so that the kernel kills it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute
from search.trials.outcomes import Outcome, outcome_of
from tests.support.control_group import memory_group
from tests.support.fault_runs import Place, with_outcome

pytestmark = pytest.mark.faults

MEBIBYTE = 2**20
# The supervisor and two workers with ordinary networks use at most half of it.
LIMIT_MIB = 4096
# The hungry candidate holds this much for some seconds before it exceeds the limit.
LEAST_PEAK_MIB = 1024
TRIALS, WORKERS = 5, 2
HUNGRY = '''
"""One network fills the memory while its weights are created; its shapes do not show that."""
import time

import numpy as np
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from cnn_blocks.registry import block
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from studies.study import StudySpec

held = []


def fill(shape, dtype=None):
    # Bounded, so that a machine without the limit survives as well.
    for mebibytes, pause in ((1024, 0.05), (16, 3.0), (5120, 0.0)):
        for _ in range(mebibytes // 16):
            held.append(np.ones(16 * 2**20, dtype=np.uint8))
            time.sleep(pause)
    return np.zeros(shape)


@block
class Hungry(Plain):
    """A plain block with one more weight."""

    def __call__(self, x, *, reduction="none"):
        from keras import layers

        class Full(layers.Layer):
            def build(self, shape):
                self.add_weight(shape=(), initializer=fill, trainable=False)

            def call(self, x):
                return x

        return super().__call__(Full()(x), reduction=reduction)


def space(trial):
    kind = trial.suggest_categorical("kind", ["plain", "hungry", "wide"])
    filters = trial.suggest_int("filters", 4, 32)
    block, head = Plain(), Pooled()
    if kind == "hungry":
        block = Hungry()
    elif kind == "wide":
        # 1 GiB of weights: too much for the group, but not for many machines.
        head = Pooled(pooling="flatten", layers=(DenseLayer(units=2**28 // (16 * filters)),))
    backbone = staged(
        block, filters=[filters], depth=1, reduction="max", place="first", dropout=[0.0]
    )
    batch = trial.suggest_int("batch", 4, 32)
    return Candidate(
        model=ModelConfig(backbone=backbone, head=head),
        training=TrainingConfig(batch_size=batch, optimizer="adam", learning_rate=1e-3),
    )


study = StudySpec(
    name="faults", description="Hungry.", space=space, data="digits", trials=5, epochs=EPOCHS,
    first_rung=EPOCHS, reports_per_epoch=1, retrain_epochs=1, workers=0,
    # The first one is at work for as long as the second one takes to fill the memory.
    start=tuple(
        {"kind": kind, "filters": filters, "batch": batch}
        for kind, filters, batch in [
            ("plain", 4, 4), ("hungry", 8, 32), ("plain", 12, 32), ("plain", 16, 32),
            ("wide", 16, 32),
        ]
    ),
)
'''


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group without room for the hungry candidate."""
    with memory_group(LIMIT_MIB * MEBIBYTE) as folder:
        yield folder


def test_the_kernel_kills_the_worker_and_its_candidate_is_not_tried_again(
    group: Path, make_place: Callable[..., Place]
) -> None:
    place = make_place(epochs=20, study=HUNGRY)
    start(place, group, trials=TRIALS)

    trials = place.checked(TRIALS)
    (dead,) = of_kind(trials, "hungry")
    (wide,) = of_kind(trials, "wide")
    assert with_outcome(trials, Outcome.COMPLETE) == of_kind(trials, "plain")
    stored = dead.user_attrs
    print(
        f"{LIMIT_MIB} MiB for {WORKERS} workers and their supervisor: trial {dead.number} ", end=""
    )
    print(f"{outcome_of(dead).value}, {stored[TrialAttribute.REASON]}; {kills(group)} kill")
    assert kills(group) == 1
    assert outcome_of(dead) is Outcome.INFEASIBLE
    assert dead.state is TrialState.PRUNED
    assert stored[TrialAttribute.SIGNAL] == "SIGKILL"
    assert stored[TrialAttribute.CRASHES] == 1
    assert stored[TrialAttribute.REASON].startswith("killed by SIGKILL (out of memory), peak")
    assert stored[TrialAttribute.PEAK_MEMORY_MIB] > LEAST_PEAK_MIB
    assert dead.constraints == {"memory": 1.0}
    assert not [t for t in trials if t.user_attrs.get(TrialAttribute.CONTINUES) == dead.number]
    # The estimate from the shapes is compared with the group's free memory, not the machine's.
    assert outcome_of(wide) is Outcome.INFEASIBLE
    assert "must fit into the free memory" in wide.user_attrs[TrialAttribute.REASON]

    # It kills no other worker either when the sampler draws it again.
    place.study().enqueue_trial(dead.params)
    start(place, group, trials=TRIALS + 1)
    _, again = of_kind(place.checked(TRIALS + 1), "hungry")
    assert again.params == dead.params
    assert outcome_of(again) is Outcome.INFEASIBLE
    reason = f"same candidate as trial {dead.number}, which ran out of memory"
    assert again.user_attrs[TrialAttribute.REASON] == reason
    assert kills(group) == 1


def start(place: Place, group: Path, *, trials: int) -> None:
    """Runs the command to its end in a group, which its workers inherit."""
    run = place.start(workers=WORKERS, trials=trials, retrain=False)
    (group / "cgroup.procs").write_text(str(run.process.pid))
    run.succeeds()


def kills(group: Path) -> int:
    """Returns the number of processes that the kernel has killed in a group."""
    (counter,) = [
        group / name for name in ("memory.oom_control", "memory.events") if (group / name).exists()
    ]
    counts = dict(line.split() for line in counter.read_text().splitlines())
    return int(counts["oom_kill"])


def of_kind(trials: list[FrozenTrial], kind: str) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.params.get("kind") == kind]
