"""`python -m search report`, and the files that it writes."""

from pathlib import Path

import pytest

from search.cli.app import invoke
from search.results.run_result import RunResult


def _report(*arguments: object) -> int:
    return invoke(["report", *map(str, arguments)])


def test_a_study_s_newest_run(finished: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    runs = finished.directory.parent.parent
    assert _report("--study", "tiny", "--runs-directory", runs) == 0

    page = finished.directory / "report.html"
    assert capsys.readouterr().out.splitlines() == [str(page), str(page.with_suffix(".md"))]
    assert "<!doctype html>" in page.read_text(encoding="utf-8")
    assert page.with_suffix(".md").read_text(encoding="utf-8").startswith("# tiny\n")


def test_a_study_without_a_run_is_reported_beside_its_runs(
    finished: RunResult, tmp_path: Path
) -> None:
    arguments = ("--study", "tiny", "--storage", finished.storage, "--runs-directory", tmp_path)
    assert _report(*arguments) == 0

    assert "Not finished" in (tmp_path / "tiny" / "report.html").read_text(encoding="utf-8")


def test_a_run_s_folder_alone_and_a_folder_to_compare_with(
    finished: RunResult, hostile: RunResult, tmp_path: Path
) -> None:
    to = tmp_path / "new" / "page.html"
    run = ("--run", finished.directory, "--compare", hostile.directory, "--output", to)
    assert _report(*run) == 0

    assert "Compared with the winner" in to.read_text(encoding="utf-8")
    assert to.with_suffix(".md").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one with --study NAME or --run FOLDER"),
        (("--run", "nowhere"), "metrics.json"),
        (("--study", "unknown"), "A stored study must be one of tiny"),
        (("--study", "tiny", "--compare", "unknown"), "A stored study must be one of tiny"),
        (("--study", "tiny", "--output", "report.pdf"), "ends in .html"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    said: str,
    finished: RunResult,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = finished.directory.parent.parent
    assert _report(*arguments, "--runs-directory", runs) == 2

    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_report_changes_nothing(finished: RunResult, tmp_path: Path) -> None:
    from search.report.writing import write_report

    before = dict(finished.study.user_attrs), len(finished.study.trials)
    write_report(finished.study, finished.directory, to=tmp_path / "report.html")

    assert (dict(finished.study.user_attrs), len(finished.study.trials)) == before
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md"}
