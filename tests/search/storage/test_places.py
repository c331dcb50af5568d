"""The default storage, and paths inside URLs."""

from pathlib import Path

import optuna
import pytest
from sqlalchemy import make_url

from search.maintenance.earlier_default import has_study_in_earlier_default
from search.storage import default_storage, open_storage, quiet_optuna, without_password
from search.storage.opening import parse_url


@pytest.mark.parametrize("folder", ["runs", "/data/my runs", "50%20?#@:/x", "it's $5"])
def test_the_default_lies_in_the_runs_directory(folder: str) -> None:
    url = default_storage(folder)

    assert make_url(url).database == parse_url(url).database == f"{folder}/studies.db"
    assert default_storage() == "sqlite:///runs/studies.db"


def test_a_home_folder_in_a_url_is_filled_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    open_storage("sqlite:///~/x.db")

    assert [path.name for path in tmp_path.iterdir() if "-" not in path.name] == ["x.db"]
    assert without_password("sqlite:///~/x.db") == f"sqlite:///{tmp_path}/x.db"
    assert parse_url("postgresql+psycopg://host/~name").database == "~name"


def test_a_study_where_earlier_versions_kept_it_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = default_storage("elsewhere")
    assert not has_study_in_earlier_default("tiny", used=elsewhere)
    assert not list(tmp_path.iterdir())
    with quiet_optuna():
        optuna.create_study(storage=open_storage(default_storage()), study_name="tiny")

    assert has_study_in_earlier_default("tiny", used=elsewhere)
    assert not has_study_in_earlier_default("another", used=elsewhere)
    assert not has_study_in_earlier_default("tiny", used=default_storage(tmp_path / "runs"))
