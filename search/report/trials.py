"""Reads a stored study for a report, without writing to it."""

import re
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from search.optimize.winner import best_trial
from search.report.data import ParameterFacts, SearchState, StudyFacts, TrialFacts
from search.sizing.time_plan import TimePlan
from search.storage.attributes import StudyAttribute, TrialAttribute, study_attributes
from search.trials.outcomes import outcome_of

# With fewer complete trials, a ranking of parameters is noise.
FEWEST_FOR_IMPORTANCE = 5
# The longest pause between two trials of one command; a longer one separates two commands.
_LONGEST_PAUSE_SECONDS = 30.0
_EPOCH_STEPS = re.compile(r"1(?:/(\d+))? epoch")
# Attributes that the report shows elsewhere, or that only programs read.
_UNLISTED = (
    StudyAttribute.CLASS_NAMES,
    StudyAttribute.TIME_PLAN,
    StudyAttribute.PHASE_SECONDS,
    StudyAttribute.TEST_OPENINGS,
    StudyAttribute.SEARCH_SECONDS,
    StudyAttribute.BACKBONES,
    StudyAttribute.INDICES,
)


def read_study(study: optuna.Study) -> StudyFacts:
    """Returns what a report says about a study, in any state."""
    stored = study_attributes(study._storage, study._study_id)
    trials = study.get_trials(deepcopy=False)
    plan, training_images = _plan(stored.get(StudyAttribute.TIME_PLAN))
    split = _split_sizes(stored.get(StudyAttribute.INDICES))
    steps_per_epoch = _EPOCH_STEPS.fullmatch(str(stored.get("step_unit", "")))
    per_epoch = None if steps_per_epoch is None else int(steps_per_epoch[1] or 1)
    clock = _SearchClock(trials)
    facts = tuple(_trial(trial, clock, per_epoch) for trial in trials)
    best = best_trial(study)
    given = [trial for trial in facts if trial.is_given and trial.recipe is None and trial.counts]
    return StudyFacts(
        name=study.study_name,
        description=str(stored.get(StudyAttribute.DESCRIPTION, "")),
        metric=str(stored.get("metric", "value")),
        maximize=study.direction is StudyDirection.MAXIMIZE,
        trials=facts,
        parameters=_parameters(study, trials),
        best=None if best is None else best.number,
        default=given[0].number if given else None,
        class_names=tuple(stored.get(StudyAttribute.CLASS_NAMES, ())),
        image_shape=str(stored.get("image_shape", "")),
        data=str(stored.get(StudyAttribute.DATA, "")),
        data_fingerprint=str(stored.get("data_fingerprint", "")),
        split=split,
        training_images=split.get("train", training_images),
        search_seconds=float(stored.get(StudyAttribute.SEARCH_SECONDS, 0.0)) or clock.whole,
        phase_seconds=dict(stored.get(StudyAttribute.PHASE_SECONDS, {})),
        plan=plan,
        attributes={name: value for name, value in stored.items() if name not in _UNLISTED},
    )


def _trial(trial: FrozenTrial, clock: "_SearchClock", per_epoch: int | None) -> TrialFacts:
    stored = trial.user_attrs
    passes = float(stored.get(TrialAttribute.EPOCHS_TRAINED, 0.0))
    reported = sorted(trial.intermediate_values.items())
    state: SearchState = "running" if trial.state is TrialState.RUNNING else "waiting"
    ended = None
    if trial.state.is_finished():
        state, ended = outcome_of(trial), clock.read(trial.datetime_complete)
    value = trial.value if trial.state is TrialState.COMPLETE else None
    if value is None and reported:
        value = reported[-1][1]
    if per_epoch is not None:
        curve = [(step / per_epoch, found) for step, found in reported]
    else:
        curve = [(passes * step / reported[-1][0], found) for step, found in reported]
    return TrialFacts(
        number=trial.number,
        state=state,
        value=value,
        reason=stored.get(TrialAttribute.REASON),
        warning=stored.get(TrialAttribute.WARNING),
        began=clock.read(trial.datetime_start),
        ended=ended,
        seconds=float(stored.get(TrialAttribute.SECONDS, 0.0)),
        passes=passes,
        curve=tuple(curve),
        parameters=stored.get(TrialAttribute.PARAMETERS),
        images_per_second=stored.get(TrialAttribute.IMAGES_PER_SECOND),
        training_accuracy=stored.get(TrialAttribute.TRAINING_ACCURACY),
        summary=str(stored.get(TrialAttribute.SUMMARY, "")),
        recipe=stored.get(TrialAttribute.RECIPE),
        is_given="fixed_params" in trial.system_attrs
        and TrialAttribute.CONTINUES not in trial.user_attrs,
        choices=trial.params or dict(trial.system_attrs.get("fixed_params", {})),
    )


class _SearchClock:
    """Seconds of search time at a moment, without pauses in which no trial ran."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        runs = sorted(
            (trial.datetime_start, trial.datetime_complete or trial.datetime_start)
            for trial in trials
            if trial.datetime_start is not None
        )
        self._starts: list[float] = []
        self._ends: list[float] = []
        for began, ended in runs:
            start, end = began.timestamp(), max(began, ended).timestamp()
            if self._ends and start <= self._ends[-1] + _LONGEST_PAUSE_SECONDS:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)
        lengths = [end - start for start, end in zip(self._starts, self._ends, strict=True)]
        self._before = [0.0, *accumulate(lengths)]

    @property
    def whole(self) -> float:
        """The seconds of the whole search."""
        return self._before[-1]

    def read(self, moment: datetime | None) -> float | None:
        """Returns the seconds of search before a moment; None for None."""
        if moment is None:
            return None
        now = moment.timestamp()
        span = bisect_right(self._starts, now) - 1
        if span < 0:
            return 0.0
        return self._before[span] + min(now, self._ends[span]) - self._starts[span]


def _parameters(study: optuna.Study, trials: Sequence[FrozenTrial]) -> tuple[ParameterFacts, ...]:
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        found.update(trial.distributions)
    importance = _importance(study, trials)
    facts = [
        ParameterFacts(
            name=name,
            log=bool(getattr(distribution, "log", False)),
            whole=isinstance(distribution, IntDistribution),
            choices=tuple(map(str, distribution.choices))
            if isinstance(distribution, CategoricalDistribution)
            else (),
            importance=importance.get(name),
        )
        for name, distribution in found.items()
    ]
    return tuple(sorted(facts, key=lambda one: -(one.importance or 0.0)))


def _importance(study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(optuna.importance.get_param_importances(study))
        except (ValueError, RuntimeError):  # no parameter varies, or none that can be ranked
            return {}


def _plan(stored: str | None) -> tuple[str | None, int | None]:
    """Returns a time plan in one line (None without a budget), and its training images."""
    if stored is None:
        return None, None
    try:
        plan = TimePlan.model_validate_json(stored)
    except ValidationError:  # written by a newer version
        return None, None
    return None if plan.budget_seconds is None else plan.describe(), plan.task.images


def _split_sizes(path: str | None) -> dict[str, int]:
    """Returns how many images each role has; {} if the file is gone or on another machine."""
    if path is None or not Path(path).is_file():
        return {}
    try:
        with np.load(path) as indices:
            return {name: len(indices[name]) for name in indices.files}
    except (OSError, ValueError):
        return {}
