"""Names that a shell completes; answers at once, so nothing heavy is imported."""

import sqlite3
from contextlib import closing
from pathlib import Path

import typer


def shipped_study_names(incomplete: str) -> list[str]:
    """Returns the shipped studies whose names begin like this."""
    from studies.study import shipped_studies

    return [name for name in shipped_studies() if name.startswith(incomplete)]


def stored_study_names(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the stored studies whose names begin like this, from the runs directory's database.

    Other storages are not opened: a server may take longer to answer than a person waits.
    """
    runs = Path(context.params.get("runs_directory") or "runs")
    database = runs / "studies.db"
    if context.params.get("storage") or not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute("SELECT study_name FROM studies ORDER BY study_name").fetchall()
    except sqlite3.Error:
        return []
    return [name for (name,) in rows if name.startswith(incomplete)]
