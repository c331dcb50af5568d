"""Shows the result of a check as text or JSON."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.maintenance.check import StorageCheck, StudyCheck
from search.system.names import shown
from search.trials.outcomes import Outcome

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def as_json(report: StorageCheck) -> str:
    """Returns the whole report as a JSON object."""
    return json.dumps({"sound": report.sound, **asdict(report)}, indent=2, ensure_ascii=False)


def show(report: StorageCheck, console: Console) -> None:
    """Prints facts, a table of studies, the owners of running trials, and damage with fixes."""
    facts = [
        report.database,
        f"Optuna tables {report.schema_version}" if report.schema_version else "",
        f"journal mode {report.journal_mode}" if report.journal_mode else "",
        "" if report.size_bytes is None else _size(report.size_bytes),
    ]
    _print(console, report.storage)
    _print(console, ", ".join(fact for fact in facts if fact))
    if report.studies:
        console.print(_table(report))
    for study in report.studies:
        for running in study.running:
            _print(console, f"{study.name}: {running.describe()}")
        for artifact in study.missing_artifacts:
            _print(console, f"{study.name}: the artifact {artifact} is recorded but missing")
    for damage in report.damage:
        _print(console, f"damage: {damage.what}")
    for fix in dict.fromkeys(damage.fix for damage in report.damage):
        _print(console, f"Fix: {fix}")
    if report.sound:
        _print(console, "sound" if report.studies else "sound, without studies")


def _table(report: StorageCheck) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("study", overflow="fold")
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("of these")
    table.add_column("best", justify="right", no_wrap=True)
    table.add_column("of trial", justify="right", no_wrap=True)
    for study in report.studies:
        table.add_row(
            Text(shown(study.name)),
            f"{sum(study.states.values()):,}",
            _counts(study),
            "-" if study.best_value is None else f"{study.best_value:.6g}",
            "-" if study.best_trial is None else str(study.best_trial),
        )
    return table


def _counts(study: StudyCheck) -> str:
    counts = [
        *((outcome.value, study.outcomes.get(outcome, 0)) for outcome in Outcome),
        *((state.lower(), study.states.get(state, 0)) for state in ("RUNNING", "WAITING")),
    ]
    return ", ".join(f"{count:,} {name}" for name, count in counts if count)


def _print(console: Console, line: str) -> None:
    # As Text, names and paths are not parsed as markup. No wrapping: programs may read the lines.
    console.print(Text(shown(line)), soft_wrap=True)


def _size(size: float) -> str:
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
