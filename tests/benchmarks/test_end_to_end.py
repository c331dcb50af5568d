"""The command of the end-to-end benchmark: it writes, keeps, tabulates and draws rows."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from benchmarks import end_to_end
from benchmarks.comparison import machine, plot, tables
from benchmarks.comparison.measuring import FailedError, Measured
from benchmarks.comparison.rows import Row, of_work, read_rows, write_row
from benchmarks.comparison.running import outside_repository
from benchmarks.comparison.works import Job

MEASURED = Measured(
    seconds=59.0,
    test_accuracy=0.9851,
    test_images=269,
    curve=[(5.0, 0.5), (20.0, 0.95)],
    winner="plain 32",
    command="python -m search.run",
    dtype_policy="float32",
)
ROW = Row(
    work="digits",
    method="quickstart",
    seed=0,
    given_seconds=60.0,
    seconds=59.0,
    test_accuracy=0.9851,
    test_images=269,
    curve=[(5.0, 0.5), (20.0, 0.95)],
    winner="plain 32",
    command="python -m search.run",
    machine={"busy_before": 0.0},
)


def row(work: str, method: str, seed: int, accuracy: float, given: float = 480.0) -> Row:
    return replace(
        ROW, work=work, method=method, seed=seed, test_accuracy=accuracy, given_seconds=given
    )


class Benchmark:
    """The command with measurements that take no time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.measured: list[tuple[str, str, int]] = []
        self.result: Callable[[Job], Measured] = lambda job: MEASURED
        self._application = typer.Typer()
        self._application.command()(end_to_end.main)

    def measure(self, job: Job, **options: object) -> Measured:
        self.measured.append(job.key)
        return self.result(job)

    def __call__(self, *options: str) -> Result:
        self.measured.clear()
        places = ["--results", str(self.folder / "results"), "--work", str(self.folder / "work")]
        return CliRunner().invoke(self._application, [*options, *places])

    @property
    def rows(self) -> list[Row]:
        return read_rows(self.folder / "results" / "end_to_end.json")


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    benchmark = Benchmark(tmp_path)
    monkeypatch.setattr(end_to_end, "measure", benchmark.measure)
    monkeypatch.setattr(end_to_end, "_reference_speed", lambda: 427)
    monkeypatch.setattr(machine, "busy_now", lambda: 0.5)
    return benchmark


def test_a_row_has_the_result_and_the_state_of_the_machine(benchmark: Benchmark) -> None:
    result = benchmark("--works", "digits", "--seeds", "3", "--scale-seconds", "1.5")

    assert result.exit_code == 0, result.output
    assert "other programs used 50% of this machine before it began" in result.output
    (found,) = benchmark.rows
    assert found.key == ("digits", "quickstart", 3)
    assert (found.given_seconds, found.seconds, found.test_accuracy) == (90.0, 59.0, 0.9851)
    assert found.machine["reference_images_per_second"] == 427
    assert found.machine["busy_before"] == 0.5
    assert found.machine.keys() >= {"processor", "bfloat16", "commit", "dtype_policy", "load"}


def test_rows_that_are_there_are_skipped(benchmark: Benchmark) -> None:
    benchmark("--works", "digits", "--seeds", "1")
    benchmark("--works", "digits")
    assert [seed for _, _, seed in benchmark.measured] == [0, 2]

    assert "--again measures them again" in benchmark("--works", "digits").output
    assert benchmark.measured == []

    benchmark("--works", "digits", "--again")
    assert [seed for _, _, seed in benchmark.measured] == [0, 1, 2]
    assert len(benchmark.rows) == 3


def test_an_interrupted_row_starts_over_and_finished_ones_stay(benchmark: Benchmark) -> None:
    def interrupted(job: Job) -> Measured:
        if job.seed == 1:
            raise KeyboardInterrupt
        return MEASURED

    benchmark.result = interrupted
    assert benchmark("--works", "digits").exit_code != 0
    assert [found.seed for found in benchmark.rows] == [0]

    benchmark.result = lambda job: MEASURED
    benchmark("--works", "digits")
    assert [seed for _, _, seed in benchmark.measured] == [1, 2]


def test_a_failed_row_is_not_written_and_the_others_go_on(benchmark: Benchmark) -> None:
    def failing(job: Job) -> Measured:
        if job.seed == 1:
            raise FailedError("out of memory")
        return MEASURED

    benchmark.result = failing
    result = benchmark("--works", "digits")

    assert result.exit_code == 1
    assert "digits-quickstart-1 failed: out of memory" in result.output
    assert [found.seed for found in benchmark.rows] == [0, 2]


def test_works_without_their_images_are_left_out(benchmark: Benchmark) -> None:
    result = benchmark()

    assert {work for work, _, _ in benchmark.measured} == {"digits"}
    assert "sign_digits_8m is left out: it needs --data-signs" in result.output
    assert "cifar10_5000 is left out: it needs --data-cifar10" in result.output


def test_quick_rows_stay_apart_and_are_measured_each_time(benchmark: Benchmark) -> None:
    for _ in range(2):
        benchmark("--quick")
        assert benchmark.measured == [("digits", "quickstart", 0)]
    assert benchmark.rows == []
    assert (benchmark.folder / "results" / "end_to_end_quick.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--works", "digit"], "no work or method 'digit'"),
        (["--methods", "digit"], "no work or method 'digit'"),
        (["--seeds", "one"], "must be integers"),
        (["--data-signs", "nowhere/at/all"], "nowhere/at/all does not exist"),
    ],
)
def test_wrong_options_are_refused(benchmark: Benchmark, options: list[str], message: str) -> None:
    result = benchmark(*options)

    assert result.exit_code == 2
    # The message is printed in a frame and may be wrapped.
    assert message.split()[0] in result.output and message.split()[-1] in result.output
    assert benchmark.measured == []


def test_runs_write_outside_the_work_tree(repository: Path) -> None:
    with pytest.raises(typer.BadParameter, match="outside the repository"):
        outside_repository(repository / "runs")


def test_the_file_has_a_line_a_row_in_the_order_of_the_works(tmp_path: Path) -> None:
    path = tmp_path / "results" / "rows.json"
    for each in (
        ROW,
        row("cifar10_5000", "default", 0, 0.7),
        row("cifar10_5000", "auto", 1, 0.7),
        row("cifar10_5000", "auto", 0, 0.6),
        row("cifar10_5000", "auto", 1, 0.8),
    ):
        write_row(path, each)

    rows = read_rows(path)
    assert [found.key for found in rows] == [
        ("cifar10_5000", "auto", 0),
        ("cifar10_5000", "auto", 1),
        ("cifar10_5000", "default", 0),
        ("digits", "quickstart", 0),
    ]
    assert rows[-1] == ROW
    assert rows[1].test_accuracy == 0.8
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line.rstrip(","))["seed"] for line in lines[1:-1]] == [0, 1, 0, 0]
    assert list(of_work(rows, "cifar10_5000")) == ["auto", "default"]


def test_the_table_says_whether_every_seed_has_the_minimum() -> None:
    rows = [
        row("cifar10_5000", "auto", 0, 0.74),
        row("cifar10_5000", "auto", 1, 0.7299),
        row("cifar10_5000", "optuna", 0, 0.7),
        replace(row("digits", "quickstart", 0, 0.98, 60.0), seconds=66.0),
    ]

    lines = tables.accuracy_table(rows).splitlines()

    assert lines[2:] == [
        "| cifar10_5000 | 8 min | auto | 0: 74.0%, 1: 72.9% | 72.9% | 73.4% | 12% of the time "
        "| 73% | no |",
        "| cifar10_5000 | 8 min | optuna | 0: 70.0% | 70.0% | 70.0% | 12% of the time | 73% |  |",
        "| digits | 1 min | quickstart | 0: 98.0% | 98.0% | 98.0% | 110% of the time | 98% | yes |",
    ]


@pytest.mark.parametrize(
    ("auto", "passes"), [((0.75, 0.735), "yes"), ((0.80, 0.734), "no"), ((0.74, 0.739), "no")]
)
def test_a_search_is_compared_with_its_own_default(auto: tuple[float, float], passes: str) -> None:
    rows = [row("cifar10_5000", "default", seed, 0.74) for seed in (0, 1, 2)]
    rows += [row("cifar10_5000", "auto", seed, value) for seed, value in enumerate(auto)]

    (line,) = tables.default_table(rows).splitlines()[2:]

    assert line.startswith(f"| cifar10_5000 | 0: {100 * (auto[0] - 0.74):+.1f}, 1: ")
    assert line.endswith(f"| {passes} |")


def test_the_way_is_shown_at_parts_of_the_time() -> None:
    slow = replace(ROW, seed=1, curve=[(50.0, 0.75)])

    line = tables.progress_table([ROW, slow]).splitlines()[-1]

    assert line == "| digits | quickstart | 25.0% | 47.5% | 85.0% |"


def test_the_plot_is_drawn_from_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    plot.draw([], path)
    assert not path.exists()

    # One row without a model until the end, and works with one and with several methods.
    rows = [ROW, replace(ROW, seed=1, curve=[]), row("cifar10_5000", "auto", 0, 0.7)]
    plot.draw([*rows, row("cifar10_5000", "optuna", 0, 0.5)], path)
    assert path.read_bytes().startswith(b"\x89PNG")
