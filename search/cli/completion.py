"""Names for shell completion. It must be fast, so it imports nothing heavy."""

import sqlite3
from contextlib import closing
from pathlib import Path

import typer


def shipped_study_names(incomplete: str) -> list[str]:
    """Returns the names of shipped studies that start with `incomplete`."""
    from studies.study import shipped_studies

    return [name for name in shipped_studies() if name.startswith(incomplete)]


def stored_study_names(context: typer.Context, incomplete: str) -> list[str]:
    """Returns the names of studies in the runs directory's database that start with `incomplete`.

    Other storages are not opened: a server may respond too slowly for completion.
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
