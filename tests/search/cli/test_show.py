"""A stored study in the terminal, and names that a shell completes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.cli.app import invoke
from search.storage import TrialAttribute, default_storage, open_storage, quiet_optuna

RATE = optuna.distributions.FloatDistribution(0.0, 1.0)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs directory whose storage has a study in the middle of a search."""
    with quiet_optuna():
        study = optuna.create_study(
            storage=open_storage(default_storage(tmp_path)), study_name="mine", direction="maximize"
        )
        study.set_user_attr("metric", "accuracy")
        for value in (0.5, 0.7, 0.6, 0.8, 0.65, 0.9):
            trial = create_trial(
                value=value, params={"rate": value / 2}, distributions={"rate": RATE}
            )
            trial.set_user_attr(TrialAttribute.SUMMARY, f"network of {value}")
            trial.set_user_attr(TrialAttribute.SECONDS, 75.0)
            study.add_trial(trial)
        study.add_trial(create_trial(state=TrialState.FAIL))
        running = study.ask()
        running.set_user_attr(TrialAttribute.SUMMARY, "a network at work [bold]")
        running.report(0.3, 1)
    return tmp_path


def show(runs: Path, *options: str) -> int:
    return invoke(["--study", "mine", "--runs-directory", str(runs), *options], command="show")


def test_the_table_begins_with_the_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(runs, "--top", "2") == 0

    out = capsys.readouterr().out
    assert "90.0% (trial 5): network of 0.9" in out
    assert "6 complete" in out and "1 failed" in out and "1 running" in out
    lines = [line.split() for line in out.splitlines()]
    table = [line[:2] for line in lines if line[-3:-1] == ["network", "of"]]
    assert table[-2:] == [["5", "90.0%"], ["3", "80.0%"]]
    assert "trial 7 is running: a network at work [bold], accuracy 30.0% so far" in out
    assert "rate" in out and "100%" in out


def test_json_is_for_programs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(runs, "--json", "--top", "1") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == {"complete": 6, "failed": 1, "running": 1}
    assert [trial["trial"] for trial in found["leaderboard"]] == [5]
    assert [entry["value"] for entry in found["history"]] == [0.5, 0.7, 0.8, 0.9]
    assert found["importance"] == {"rate": 1.0}


def test_an_unknown_study_is_refused_with_those_that_there_are(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["--study", "other", "--runs-directory", str(runs)], command="show") == 2
    assert "must be one of mine" in capsys.readouterr().err


def test_following_ends_with_ctrl_c(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def interrupt(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("search.cli.show.time.sleep", interrupt)

    assert show(runs, "--follow") == 130
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cnn-search show --study m", {"mine"}),
        ("cnn-search report --study ", {"mine"}),
        ("cnn-search run --study depth", {"depth_filters"}),
        ("cnn-search sh", {"show"}),
    ],
)
def test_names_complete(line: str, expected: set[str], runs: Path, repository: Path) -> None:
    (runs / "runs").symlink_to(runs)
    words = line.split(" ")
    done = subprocess.run(
        [Path(sys.executable).with_name("cnn-search")],
        cwd=runs,
        env={
            **os.environ,
            "PYTHONPATH": str(repository),
            "_CNN_SEARCH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert set(done.stdout.split()) == expected, done.stderr
