"""The dashboard's notes on a study and its best trials, in Markdown, and two plots."""

import math
import re
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.optimize.plots import plots_of
from search.optimize.stored_study import searched_seconds
from search.progress.words import duration, metric_words, one_line
from search.storage import StudyAttribute, TrialAttribute
from search.storage.dashboard import save_for_dashboard
from search.trials.outcomes import Outcome, count_outcomes, outcome_of
from spaces.probe import describe_distribution

_NOTED_TRIALS = 10
_NAMED_CLASSES = 20
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$&:@=])")


def write_notes(study: optuna.Study) -> None:
    """Writes a note on a study, a note on each of its ten best trials, and plots."""
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    complete = [
        trial
        for trial in finished
        # JSON cannot hold infinite numbers.
        if trial.state is TrialState.COMPLETE and math.isfinite(_value(trial))
    ]
    best = sorted(complete, key=_value, reverse=study.direction is StudyDirection.MAXIMIZE)
    metric = metric_words(f"val_{study.user_attrs.get('metric', 'value')}")
    notes: dict[int | None, str] = {None: _of_study(study, best[0] if best else None, metric)}
    notes |= {trial.number: _of_trial(trial, metric) for trial in best[:_NOTED_TRIALS]}
    plots = plots_of(best, finished, metric) if best else {}
    save_for_dashboard(study, notes=notes, plots=plots)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _of_study(study: optuna.Study, best: FrozenTrial | None, metric: str) -> str:
    stored = study.user_attrs
    outcomes = count_outcomes(study)
    counts = ", ".join(
        f"{outcomes[outcome]:,} {outcome}" for outcome in Outcome if outcomes[outcome]
    )
    lines = [
        _text(stored.get(StudyAttribute.DESCRIPTION, study.study_name)),
        "",
        "## Best so far",
        "",
        "no complete trial yet"
        if best is None
        else f"{metric} **{_value(best):z.4f}**, trial {best.number}: {_network(best)}",
        "",
        f"Trials: {counts or 'none finished'}, in {duration(searched_seconds(study))} of search.",
    ]
    if StudyAttribute.COMMAND in stored:
        command = str(stored[StudyAttribute.COMMAND])
        # The fence is longer than any run of backticks in the command.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
        lines += ["", "## Command", "", fence, command, fence]
    lines += ["", "## Data", "", _data(stored), "", "## Searched parameters", ""]
    lines += ["| parameter | values |", "| --- | --- |"]
    lines += [f"| {_text(name)} | {_text(found)} |" for name, found in _ranges(study).items()]
    return "\n".join(lines) + "\n"


def _of_trial(trial: FrozenTrial, metric: str) -> str:
    stored = trial.user_attrs
    facts = [
        f"{metric} **{_value(trial):z.4f}**",
        ", ".join(_measures(stored)),
        f"{outcome_of(trial)}: {_text(stored.get(TrialAttribute.REASON, 'trained to its end'))}",
    ]
    return "\n".join([_network(trial), "", *(f"- {fact}" for fact in facts if fact)]) + "\n"


def _measures(stored: dict[str, Any]) -> Iterable[str]:
    if TrialAttribute.SECONDS in stored:
        yield duration(stored[TrialAttribute.SECONDS])
    if TrialAttribute.IMAGES_PER_SECOND in stored:
        yield f"{stored[TrialAttribute.IMAGES_PER_SECOND]:,.0f} images/s"
    if TrialAttribute.EPOCHS_TRAINED in stored:
        yield f"{stored[TrialAttribute.EPOCHS_TRAINED]:.3g} epochs"
    if TrialAttribute.PARAMETERS in stored:
        yield f"{stored[TrialAttribute.PARAMETERS]:,} parameters"


def _network(trial: FrozenTrial) -> str:
    return _text(trial.user_attrs.get(TrialAttribute.SUMMARY, "a network without a description"))


def _data(stored: dict[str, Any]) -> str:
    names = [str(name) for name in stored.get(StudyAttribute.CLASS_NAMES, [])]
    more = f" and {len(names) - _NAMED_CLASSES} more" if len(names) > _NAMED_CLASSES else ""
    classes = ", ".join(_text(name) for name in names[:_NAMED_CLASSES])
    return (
        f"{_text(stored.get(StudyAttribute.DATA, 'unknown'))}: {len(names)} classes "
        f"({classes}{more}); images of {_text(stored.get('image_shape', 'unknown size'))} pixels; "
        f"{_text(stored.get('split_fractions', ''))}"
    )


def _ranges(study: optuna.Study) -> dict[str, str]:
    """Returns in words the range of each parameter that a trial used."""
    found: dict[str, str] = {}
    for trial in study.get_trials(deepcopy=False):
        for name, distribution in trial.distributions.items():
            if name not in found:
                found[name] = describe_distribution(distribution)
    return found


def _text(text: object) -> str:
    """Returns a text on one line, with Markdown's special characters escaped."""
    return _MARKUP.sub(r"\\\1", one_line(str(text)))
