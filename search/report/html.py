"""The report as one HTML page that loads no other file."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from search.report import words
from search.report.charts import choices, networks, over_time, rows, scores, training
from search.report.charts.trial_marks import MOST_CURVES
from search.report.data import ReportData, RunFacts, StudyFacts, TrialFacts
from search.report.gallery import galleries
from search.report.prose import (
    calibration_in_words,
    lead,
    network_in_words,
    search_in_words,
    status,
    test_in_words,
    time_in_words,
)
from search.report.tables import (
    commands,
    confused_pairs,
    ended_early,
    facts,
    importance_rows,
    outcome_rows,
    settings,
    time_groups,
    top_trials,
)
from search.trials.outcomes import Outcome

if TYPE_CHECKING:
    from jinja2 import Environment

# A matrix with more classes has no room for numbers.
_MOST_CLASSES_WITH_NUMBERS = 20
# With more classes the page shows the weakest first and the others on request.
_MOST_CLASSES_LISTED = 40
_WEAKEST = 20
_MOST_DOTS = 9


def render_html(data: ReportData) -> str:
    """Returns the whole page, with every text from outside escaped."""
    study, run = data.study, data.run
    environment = _environment()
    ended, left_out = ended_early(study)
    charts = _charts(data)
    importance = importance_rows(study)
    galleries_shown = [] if run is None else galleries(run)
    times = time_groups(study, run)
    contents = [
        ("glance", "At a glance", True),
        ("learning", "Learning and overfitting", run is not None),
        ("test", "Test images", run is not None),
        ("images", "Mistakes and correct answers", bool(galleries_shown)),
        ("network", "The network", data.network is not None),
        ("search", "The search", study is not None),
        (
            "parameters",
            "Which choices mattered",
            bool(importance or charts["parallel"] or charts["slices"]),
        ),
        ("outcomes", "What ended early", study is not None),
        ("time", "Where the time went", bool(times)),
        ("repeat", "To repeat it", True),
    ]
    class_rows, weakest = _class_rows(run)
    context: dict[str, Any] = {
        "data": data,
        "study": study,
        "run": run,
        "nothing": words.NONE,
        "css": Markup(environment.get_template("report.css").render()),
        "lead": lead(data),
        "status": status(data),
        "contents": [(identifier, name) for identifier, name, there in contents if there],
        "metric": words.metric_name(_metric(study)),
        "best": None if study is None else study.trial(study.best),
        "winner_summary": _winner_summary(data),
        "facts": facts(data),
        "has_published": any(row.kind == "published" for row in data.comparisons),
        "charts": charts,
        "gap_words": "" if run is None else training.gap_in_words(run),
        "test_words": "" if run is None else test_in_words(run),
        "small_matrix": _small_matrix(run),
        "confused": [] if run is None else confused_pairs(run),
        "class_rows": class_rows,
        "weakest": weakest,
        "calibration_words": calibration_in_words(run),
        "galleries": galleries_shown,
        "network_words": network_in_words(data),
        "one_pass": 0
        if data.network is None
        else sum(stage.multiply_accumulates for stage in data.network.stages),
        "search_words": search_in_words(study),
        "curves_caption": _curves_caption(study),
        "top_trials": top_trials(study),
        "importance": importance,
        "complete": 0 if study is None else _complete(study),
        "outcomes": outcome_rows(study),
        "ended": ended,
        "ended_left_out": left_out,
        "times": times,
        "time_words": time_in_words(study),
        "commands": commands(data),
        "settings": settings(data),
        "openings": () if run is None else run.openings,
        "configuration": _lines("" if run is None else run.configuration),
        "made": f"{data.made:%Y-%m-%d %H:%M %Z}",
    }
    return environment.get_template("report.html").render(context)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("search.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "percent": words.percent,
            "metric": words.metric_value,
            "short": words.short,
            "count": lambda number: words.NONE if number is None else f"{number:,}",
            "latency": words.milliseconds,
            "span": words.span,
            "hours": lambda hours: words.span(None if hours is None else hours * 3600),
            "shape": networks.shape_words,
            "cut": words.shortened,
            "title": lambda text: text[:1].upper() + text[1:],
        }
    )
    return environment


def _shown(value: object) -> object:
    """Removes control characters and passwords from everything except our own markup."""
    return value if isinstance(value, Markup) else words.safe(str(value))


def _charts(data: ReportData) -> Mapping[str, Any]:
    study, run, network = data.study, data.run, data.network
    calibration = None if run is None else run.calibration
    return {
        "comparison": _comparison(data),
        "compared": None
        if study is None
        else over_time.compared_histories(data.comparisons, study.metric),
        "learning": [] if run is None else training.learning_curves(run, study),
        "gap": None if run is None else training.gap(run, study),
        "trial_gaps": None if study is None else training.trial_gaps(study),
        "calibration": None if calibration is None else scores.calibration(calibration),
        "confusion": None
        if run is None or len(run.class_names) <= _MOST_CLASSES_WITH_NUMBERS
        else scores.large_confusion_matrix(run.confusion, run.class_names),
        "network": None if network is None else networks.feature_maps(network),
        "history": None if study is None else over_time.history(study),
        "curves": None if study is None else over_time.all_curves(study),
        "sizes": None if study is None else choices.sizes(study),
        "parallel": None if study is None else choices.parallel(study),
        "slices": [] if study is None else choices.slices(study),
    }


def _comparison(data: ReportData) -> Markup | None:
    """Returns the accuracies of the winner and the others as dots; None without any others."""
    by_accuracy = data.study is None or data.study.metric == "accuracy"
    found: list[rows.Row] = []
    for row in data.comparisons:
        name = "winner" if row.kind == "winner" else row.name
        class_ = {"winner": "s-best", "published": "s-validation"}.get(row.kind, "s-trial")
        if row.test is not None:
            label = f"{name}, published" if row.kind == "published" else f"{name}, test"
            found.append(rows.Row(label, row.test, class_, row.interval))
        if row.validation is not None and by_accuracy:
            found.append(rows.Row(f"{name}, validation", row.validation, class_))
    if len(found) < 2:
        return None
    return rows.draw_rows(
        "comparison",
        found[:_MOST_DOTS],
        title="Accuracy of the winner and others",
        percent_scale=True,
    )


def _small_matrix(run: RunFacts | None) -> list[dict[str, Any]] | None:
    if run is None or len(run.class_names) > _MOST_CLASSES_WITH_NUMBERS:
        return None
    matrix = []
    for number, (name, line) in enumerate(zip(run.class_names, run.confusion, strict=True)):
        whole = sum(line) or 1
        cells = [
            {
                "count": count,
                "shade": f"{'h' if column == number else 'm'}{scores.shade_of(count / whole)}"
                if count
                else "h0",
            }
            for column, count in enumerate(line)
        ]
        matrix.append({"name": name, "cells": cells})
    return matrix


def _class_rows(
    run: RunFacts | None,
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Returns the scores of all classes, and the weakest classes if there are many."""
    if run is None:
        return [], []
    found: list[Mapping[str, Any]] = list(run.test["per_class"])
    if len(found) <= _MOST_CLASSES_LISTED:
        return found, []
    return found, sorted(found, key=lambda row: row["f1"])[:_WEAKEST]


def _curves_caption(study: StudyFacts | None) -> str:
    if study is None:
        return ""
    curves = sum(len(trial.curve) > 1 for trial in study.counted)
    if curves <= MOST_CURVES:
        return "Every trial's values on the validation images."
    return f"{MOST_CURVES} of {curves:,} trials, evenly spaced, and the winner."


def _winner_summary(data: ReportData) -> str:
    if data.network is not None:
        return data.network.summary
    best: TrialFacts | None = None if data.study is None else data.study.trial(data.study.best)
    return "" if best is None else best.summary


def _complete(study: StudyFacts) -> int:
    return sum(trial.state is Outcome.COMPLETE for trial in study.trials)


def _metric(study: StudyFacts | None) -> str:
    return "accuracy" if study is None else study.metric


def _lines(text: str) -> Markup:
    """Returns several lines of text, each escaped."""
    return Markup("\n").join(escape(words.safe(line)) for line in text.splitlines())
