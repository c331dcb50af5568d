"""Writes the report's files: gathers the content, renders it, writes each file atomically."""

from collections.abc import Sequence
from pathlib import Path

import optuna

from cnn_blocks.errors import UserError
from search.progress.events import Progress
from search.report.gather import gather
from search.report.html import render_html
from search.report.markdown import render_markdown
from search.system.files import write_text

HTML, MARKDOWN = "report.html", "report.md"


def write_report(
    study: optuna.Study | None,
    run: Path | None,
    *,
    to: Path | None = None,
    others: Sequence[tuple[optuna.Study | None, Path | None]] = (),
) -> Path:
    """Writes report.html and report.md about a study and its finished run; returns the first.

    Without a `run` the study is unfinished or has failed; without a `study` the run came from a
    recipe or a configuration. The files go into the run's folder, or to `to`, with the Markdown
    next to the page. `others` are studies to compare with, each with the folder of its run.
    The study is only read; no image is opened and nothing is trained.

    Raises UserError if neither is given, if a folder holds no finished run, or if the file cannot
    be written.
    """
    if study is None and run is None:
        raise UserError(
            "A report is about a study or a finished run; received neither. Fix: name a study "
            "with --study NAME, or a run's folder with --run FOLDER."
        )
    if to is None:
        if run is None:
            raise UserError(
                "A report needs an output file; a study without a finished run has no folder. Fix: "
                "name a file with --output FILE."
            )
        to = run / HTML
    if to.suffix.lower() not in (".html", ".htm"):
        raise UserError(
            f"A report is an HTML page; received {str(to)!r}. Fix: name a file that ends in .html."
        )
    data = gather(study, run, others=others)
    page, text = render_html(data), render_markdown(data, beside=to.parent)
    try:
        write_text(to, page)
        write_text(to.with_suffix(".md"), text)
    except OSError as error:
        raise UserError(
            f"A report needs a writable folder; {to}: {error.strerror or error}. Fix: make the "
            f"folder writable, or name another file with --output FILE."
        ) from error
    return to


def report_finished_run(study: optuna.Study | None, run: Path, progress: Progress) -> None:
    """Writes the report of a run that has just finished; a failure is only a warning."""
    try:
        write_report(study, run)
    except Exception as error:  # all other results of the run are complete
        progress.warning(f"the report of {run} could not be written: {error}")
