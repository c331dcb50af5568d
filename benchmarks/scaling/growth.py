"""How the cost of single operations grows with a study: one process on an SQLite file."""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import psutil
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks.scaling.prefill import prefill
from search.optimize.loop import has_room
from search.optimize.winner import best_trial
from search.storage import open_storage
from search.trials.outcomes import count_outcomes
from studies.shipped.depth_filters import study as spec
from studies.study import tree_parzen_sampler

_REPETITIONS = 5
# Stop repeating slow operations after this time.
_ENOUGH_SECONDS = 10.0
_MEBIBYTE = 2**20


def measure_growth(sizes: list[int], trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Returns the milliseconds of each operation and the memory for every number of trials."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/studies.db"
            open_storage(url)
            prefill(url, "growth", trials, size)
            rows.append({"prefilled": size, **_measure(url, size)})
    return rows


def _measure(url: str, size: int) -> dict[str, Any]:
    process = psutil.Process()
    memory = process.memory_info().rss
    began = time.perf_counter()
    study = optuna.load_study(
        study_name="growth", storage=open_storage(url), pruner=spec.make_pruner()
    )
    study.get_trials(deepcopy=False)
    first_read = time.perf_counter() - began
    grown = process.memory_info().rss - memory

    def ask_and_suggest() -> None:
        trial = study.ask()
        spec.candidate(trial)
        # Samplers ignore failed trials, so the study stays the same for the next operation.
        study.tell(trial, state=TrialState.FAIL)

    operations: dict[str, Callable[[], object]] = {
        "get_trials(deepcopy=False)": lambda: study.get_trials(deepcopy=False),
        "get_trials()": lambda: study.get_trials(),
        "best_trial": lambda: best_trial(study),
        "has_room": lambda: has_room(study, 10 * size),
        "count_outcomes": lambda: count_outcomes(study),
    }
    milliseconds = {name: _median(operation) for name, operation in operations.items()}
    for name, sampler in _samplers().items():
        study.sampler = sampler
        milliseconds[f"ask and suggest: {name}"] = _median(ask_and_suggest)
    return {
        "first_read_seconds": round(first_read, 3),
        # Does not include memory that an earlier, smaller study freed and that is used again.
        "first_read_mib": round(grown / _MEBIBYTE),
        "milliseconds": milliseconds,
    }


def _samplers() -> dict[str, BaseSampler]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return {
            "random": RandomSampler(seed=0),
            "the studies' TPE": tree_parzen_sampler(0),
            "TPE without constant_liar": TPESampler(
                seed=0, multivariate=True, group=True, constant_liar=False
            ),
            "TPE without group": TPESampler(seed=0, multivariate=True),
            "TPE without multivariate": TPESampler(seed=0, multivariate=False),
            "the studies' TPE, window of 1,000 trials": WindowSampler(
                tree_parzen_sampler(0), trials=1_000
            ),
        }


class WindowSampler(BaseSampler):
    """An experiment: shows a sampler only the newest and the best trials.

    TPE splits trials into a few good ones, at most 25, and all others. Old trials among the others
    hardly change its density estimate, but cost as much as new ones.
    """

    def __init__(self, sampler: BaseSampler, *, trials: int, best: int = 25) -> None:
        self._sampler = sampler
        self._trials = trials
        self._best = best

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self._sampler.infer_relative_search_space(self._window(study), trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> Any:
        return self._sampler.sample_relative(self._window(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._sampler.sample_independent(
            self._window(study), trial, param_name, param_distribution
        )

    def _window(self, study: optuna.Study) -> "_Window":
        window = object.__new__(_Window)
        vars(window).update(vars(study), newest=self._trials, best=self._best)
        return window


class _Window(optuna.Study):
    newest: int
    best: int

    def _get_trials(
        self, deepcopy: bool = True, states: Any = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        older, newer = trials[: -self.newest], trials[-self.newest :]
        complete = [trial for trial in older if trial.state is TrialState.COMPLETE]
        sign = -1.0 if self.direction is optuna.study.StudyDirection.MAXIMIZE else 1.0
        complete.sort(key=lambda trial: sign * (trial.value or 0.0))
        return sorted(complete[: self.best], key=lambda trial: trial.number) + newer


def _median(operation: Callable[[], object]) -> float:
    seconds: list[float] = []
    while len(seconds) < _REPETITIONS and sum(seconds) < _ENOUGH_SECONDS:
        began = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - began)
    return round(1000 * statistics.median(seconds), 2)
