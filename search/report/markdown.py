"""The essentials of a report as Markdown, for a repository, an issue or a terminal."""

import re
from collections.abc import Sequence
from pathlib import Path

from search.report import words
from search.report.charts.networks import shape_words
from search.report.charts.training import gap_in_words
from search.report.data import ReportData
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

# Characters that can begin markup, HTML, a formula, a mention or another cell; list markers at the
# beginning of a line; and texts that GitHub turns into links.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~^=&$@!])")
_LEADING = re.compile(r"^(\s*)([-+]|\d+(?=[.)]))")
_LINK = re.compile(r"(?i)(?<=\w)(:(?=//)|(?<=www)\.)")
_MOST_ROWS = 60
_PICTURES = {
    "learning_curve.png": "Accuracy and loss by passes over the training images",
    "confusion_matrix.png": "Confusion matrix",
    "example_predictions.png": "The most confident mistakes and correct answers",
}


def render_markdown(data: ReportData, *, beside: Path) -> str:
    """Returns the report's text and tables, with links to pictures in the folder `beside`."""
    study, run = data.study, data.run
    blocks = [f"# {escaped(data.title)}"]
    blocks += [escaped(lead(data)), f"**{escaped(status(data)['text'])}**"]
    blocks += [f"> {escaped(note)}" for note in data.notes]
    if run is not None:
        low, high = run.interval
        blocks.append(
            f"Accuracy on {run.test['images']:,} test images: "
            f"**{words.percent(run.test['accuracy'])}** (95% interval {words.percent(low)} to "
            f"{words.percent(high)})."
        )
    blocks.append(
        _table(("", "", ""), [(term, value, remark) for term, value, remark in facts(data)])
    )
    if len(data.comparisons) > 1:
        blocks += ["## Compared with the winner", _comparisons(data)]
    if run is not None:
        blocks += ["## Learning and overfitting", escaped(gap_in_words(run))]
        blocks += ["## Test images", escaped(test_in_words(run))]
        blocks.append(escaped(calibration_in_words(run)))
        blocks.append(
            _table(
                ("class", "precision", "recall", "F1", "images"),
                [
                    (
                        row["name"],
                        *(words.percent(row[name]) for name in ("precision", "recall", "f1")),
                        f"{row['support']:,}",
                    )
                    for row in run.test["per_class"]
                ],
            )
        )
        pairs = [
            (pair["true"], pair["predicted"], f"{pair['count']:,}") for pair in confused_pairs(run)
        ]
        if pairs:
            blocks += [
                "### Most frequent confusions",
                _table(("true", "predicted", "images"), pairs),
            ]
        if beside.resolve() == run.directory.resolve():
            blocks += [
                f"![{text}]({name})"
                for name, text in _PICTURES.items()
                if (run.directory / name).is_file()
            ]
    if data.network is not None:
        stages = [
            (
                " ".join(filter(None, (stage.title, stage.block))),
                stage.layers,
                shape_words(stage.shape),
                f"{stage.parameters:,}",
                words.short(stage.multiply_accumulates),
            )
            for stage in data.network.stages
        ]
        blocks += ["## The network", escaped(data.network.summary), escaped(network_in_words(data))]
        head = ("part", "layers", "output", "parameters", "multiply-accumulates")
        blocks.append(_table(head, stages))
    if study is not None:
        blocks += ["## The search", escaped(search_in_words(study))]
        trials = [
            (
                str(trial.number),
                words.metric_value(trial.value, study.metric),
                trial.summary,
                words.short(trial.parameters),
                words.span(trial.seconds),
            )
            for trial in top_trials(study)
        ]
        if trials:
            head = ("trial", words.metric_name(study.metric), "candidate", "parameters", "time")
            blocks.append(_table(head, trials))
        important = [
            (row["name"], row["value"], words.percent(row["share"]))
            for row in importance_rows(study)
        ]
        if important:
            blocks += [
                "### Which choices mattered",
                _table(("parameter", "winner's value", "importance"), important),
            ]
        outcomes = [
            (row["name"], f"{row['count']:,}", words.span(row["seconds"]), row["meaning"])
            for row in outcome_rows(study)
        ]
        blocks += [
            "## What ended early, and why",
            _table(("outcome", "trials", "time", "meaning"), outcomes),
        ]
        ended, left_out = ended_early(study)
        reasons = [
            (str(trial.number), str(trial.state), trial.reason or trial.warning or "")
            for trial in ended
        ]
        if reasons:
            blocks.append(_table(("trial", "outcome", "reason"), reasons, left_out=left_out))
    groups = time_groups(study, run)
    if groups:
        blocks += ["## Where the time went", escaped(time_in_words(study))]
    for group in groups:
        rows = [
            (name, words.span(spent), words.percent(share)) for name, spent, share in group["rows"]
        ]
        blocks.append(_table((group["title"], "time", "share"), rows))
    blocks.append("## To repeat it")
    for title, command in commands(data):
        # The fence is longer than any run of backticks inside.
        blocks += [escaped(title), f"````bash\n{words.safe(command).replace('````', '')}\n````"]
    blocks.append(_table(("setting", "value"), settings(data)))
    made = f"{data.made:%Y-%m-%d %H:%M %Z}"
    blocks.append(f"Made by cnn-search {escaped(data.version)} on {escaped(made)}.")
    return "\n\n".join(filter(None, blocks)) + "\n"


def escaped(text: str) -> str:
    """Returns a text that Markdown shows as it is, on one line."""
    text = _SPECIAL.sub(r"\\\1", words.safe(text))
    text = _LINK.sub(r"\\\1", text)
    leading = _LEADING.match(text)
    if leading is None:
        return text
    # A list number is not markup by itself; the point after it is.
    at = leading.end() if leading[2].isdigit() else leading.start(2)
    return f"{text[:at]}\\{text[at:]}"


def _comparisons(data: ReportData) -> str:
    metric = "accuracy" if data.study is None else data.study.metric
    rows = [
        (
            row.name + (" (winner)" if row.kind == "winner" else ""),
            words.percent(row.test),
            words.metric_value(row.validation, metric),
            words.short(row.parameters),
            words.short(row.multiply_accumulates),
            words.milliseconds(row.single_seconds),
            words.span(None if row.hours is None else row.hours * 3600),
            row.remark,
        )
        for row in data.comparisons
    ]
    validation = f"validation {words.metric_name(metric)}"
    work = "multiply-accumulates"
    head = ("what", "test accuracy", validation, "parameters", work, "one image", "search", "")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left_out: int = 0) -> str:
    """Returns a table of escaped cells; a long one is cut and says how many rows are left out."""
    lines = [_line(head), "|" + " --- |" * len(head), *map(_line, rows[:_MOST_ROWS])]
    more = max(0, len(rows) - _MOST_ROWS) + left_out
    if more:
        lines.append(_line([f"and {more:,} more, in the HTML report", *[""] * (len(head) - 1)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(escaped, cells)) + " |"
