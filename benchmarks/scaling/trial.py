"""A trial that sleeps instead of training and stores what a real trial stores."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna

from search.storage.attributes import TrialAttribute, set_trial_attribute
from search.trials.pruning import should_prune
from spaces.candidate import Candidate
from studies.shipped.depth_filters import study as spec

REPORTS = 4
SLEEP_SECONDS = 0.025
# The duration of a trial on a storage without any cost.
TRAINING_SECONDS = REPORTS * SLEEP_SECONDS


class CutError(Exception):
    """A trial was aborted because its cell's time was over."""


@dataclass
class Latencies:
    """The seconds of each storage operation, by name."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def measure(self, operation: str) -> Iterator[None]:
        """Adds the duration of the block to an operation."""
        began = time.perf_counter()
        yield
        self.seconds[operation].append(time.perf_counter() - began)


def candidate_attributes(candidate: Candidate) -> dict[TrialAttribute, Any]:
    """Returns what a trial stores before it trains."""
    return {
        TrialAttribute.CANDIDATE: candidate.to_json(),
        TrialAttribute.SUMMARY: candidate.summary(),
        TrialAttribute.PARAMETERS: 1_234_567,
        TrialAttribute.MEMORY_MIB: 890,
    }


def result_attributes() -> dict[TrialAttribute, Any]:
    """Returns what a trial stores after it has trained."""
    return {
        TrialAttribute.BEST_EPOCH: 4.0,
        TrialAttribute.EPOCHS_TRAINED: 4.0,
        TrialAttribute.IMAGES_PER_SECOND: 3456.7,
        TrialAttribute.SECONDS: 123.456,
        TrialAttribute.OUTCOME: "complete",
    }


def simulate(study: optuna.Study, latencies: Latencies, *, give_up_at: float) -> None:
    """Runs one trial. It calls the pruner but ignores it, so that all trials cost the same.

    Raises CutError if `give_up_at`, a time of `time.perf_counter`, passes during the trial.
    """

    def store(attributes: dict[TrialAttribute, Any]) -> None:
        for name, value in attributes.items():
            with latencies.measure("attribute"):
                set_trial_attribute(trial.storage, trial._trial_id, name, value)
        if time.perf_counter() > give_up_at:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise CutError

    with latencies.measure("ask"):
        trial = study.ask()
    store({TrialAttribute.LEASE: {"host": "host", "process": 12345, "worker": "0" * 32, "beat": 0}})
    with latencies.measure("suggest"):
        candidate = spec.candidate(trial)
    store(candidate_attributes(candidate))
    value = 0.0
    for step in range(1, REPORTS + 1):
        time.sleep(SLEEP_SECONDS)
        # Any value that differs between trials.
        value = (trial.number * 37 % 101 + step) / 110
        with latencies.measure("report"):
            trial.report(value, step)
        with latencies.measure("prune"):
            should_prune(trial)
        store({TrialAttribute.EPOCHS_TRAINED: step / spec.reports_per_epoch})
    store(result_attributes())
    with latencies.measure("tell"):
        study.tell(trial, value)
