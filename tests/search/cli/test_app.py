"""The command line, as used by people and by programs."""

import io
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.cli import shared
from search.data import DataSource
from search.engines.workers import LocalWorkers, RayWorkers, WorkerLimits
from search.errors import SearchFailure, SearchInterrupted
from search.optimize.budget import Budget
from search.results import summary
from search.storage.places import Places
from search.system.runtime import Compute
from studies.study import load_study

COMMANDS = ("run", "list", "export", "retrain", "storage")
KINDS = ("studies", "spaces", "blocks", "heads", "backbones", "recipes", "data")
HEAVY = ("keras", "tensorflow", "sklearn", "matplotlib", "pandas", "jax", "torch", "tensorboard")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([command, "--help"]) == 0

    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"cnn-search {command}" in text


def test_the_help_of_run_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "--help"]) == 0

    text = capsys.readouterr().out
    assert "Exit codes: 0 success, 1 nothing found, 2 wrong input, 130 interrupted." in text
    assert "--engine ray" in text and "--workers 4" in text and "--no-retrain" in text


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([]) == 0

    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["run"], "'auto' has none of its own. Fix: name them with --data FOLDER"),
        (["run", "--study", "quickstart", "--hypermodel", "package.Model"], "one of '--study'"),
        (["run", "--hypermodel", "no/such/file.py:Model"], "no/such/file.py"),
        (["run", "--study", "quickstart", "--budget", "forty"], "--budget must be a duration"),
        (["run", "--study", "quickstart", "--retrain-budget", "1"], "--retrain-budget must be"),
        (["run", "--study", "quickstart", "--image-size", "big"], "--image-size must be"),
        (["run", "--study", "quickstart", "--max-bad-files", "3"], "--max-bad-files must be"),
        (["run", "--study", "quickstart", "--metric", "speed"], "'balanced_accuracy'"),
        (["run", "--study", "quickstart", "--trials", "0"], "'--trials'"),
        (["run", "--study", "quickstart", "--precision", "int8"], "'bfloat16'"),
        (["run", "--study", "quickstrat"], "quickstart"),
        (["run", "--study", "quickstart", "--warm-start", "x"], "'recipes'"),
        (["run", "--recipe", "granita_fnal", "--data", "digits"], "'granita_final'"),
        (["run", "--recipe", "granita_1"], "--data"),
        (["run", "--recipe", "granita_1", "--study", "x", "--trials", "2"], "--study, --trials"),
        (["run", "--recipe", "granita_1", "--dry-run"], "--dry-run"),
        (["run", "--recipe", "granita_1", "--json"], "received --json with '--recipe granita_1'"),
        (
            ["run", "--study", "quickstart", "--json"],
            "--json without --dry-run. Fix: add --dry-run",
        ),
        (
            ["run", "--recipe", "granita_1", "--retries", "1", "--stall-timeout", "1m"],
            "--retries, --stall-timeout with '--recipe granita_1'",
        ),
        (
            ["run", "--recipe", "granita_1", "--no-retrain", "--backbone", "a", "--engine", "ray"],
            "received --backbone, --engine, --no-retrain with",
        ),
        (
            ["run", "--study", "quickstart", "--hypermodel", "a.B"],
            "received --study quickstart --hypermodel a.B. Fix: use one, as in: cnn-search run",
        ),
        (["run", "--study", "no/such/study.py"], "no/such/study.py"),
        (["run", "--studdy", "quickstart"], "--study"),
        (["run", "--study", "fine_tune", "--backbone", "mobilenetv2"], "'MobileNetV2'"),
        (["run", "--study", "fine_tune", "--backbone", "no_such.keras"], "no_such.keras"),
        (["run", "--study", "quickstart", "--backbone", "VGG16"], "transfer_head"),
        (["list", "nothing"], "'studies'"),
        (["walk"], "walk"),
        (["export", "--study", "quickstart"], "'--to'"),
        (["retrain", "--config", "no_such.yaml", "--data", "digits"], "no_such.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_end_with_one_line_and_code_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert part in captured.err


@pytest.mark.parametrize("kind", KINDS)
def test_list_gives_a_line_and_an_object_for_each(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["list", kind, "--json"]) == 0
    objects = json.loads(capsys.readouterr().out)
    assert cli.invoke([kind], command="list") == 0
    lines = capsys.readouterr().out.splitlines()

    assert objects
    assert len(lines) == len(objects)
    for line, entry in zip(lines, objects, strict=True):
        assert line.startswith(entry["name"])
        assert entry["description"] in line
        assert entry["description"]
        assert "\n" not in entry["description"]


def test_list_knows_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    names = {}
    for kind in KINDS:
        cli.invoke(["list", kind, "--json"])
        names[kind] = {entry["name"] for entry in json.loads(capsys.readouterr().out)}

    assert {"quickstart", "depth_filters", "full_cnn"} <= names["studies"]
    assert "depth_filters" in names["spaces"]
    assert names["spaces"].isdisjoint({"candidate", "suggest", "probe"})
    assert "plain" in names["blocks"]
    assert "pooled" in names["heads"]
    assert {"cifar10", "digits"} <= names["data"]
    assert {"granita_1", "g3_homebrew", "siaj_xception"} <= names["recipes"]


def test_listed_recipes_carry_their_counts_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    cli.invoke(["list", "recipes", "--json"])
    recipes = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    cli.invoke(["list", "recipes"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}

    assert len(recipes) == 18
    inception = recipes["bicocca_inception_resnet_v2"]
    assert (inception["parameters"], inception["trainable_parameters"]) == (55_193_194, 855_178)
    assert inception["published"] == {"accuracy": 0.92}
    assert all(entry["source"] and entry["assumed"] for entry in recipes.values())
    assert "003_753b23262839900e.txt" in lines["bicocca_cnn"]
    assert "404,778 parameters, 403,882 trainable" in lines["bicocca_cnn"]
    assert "published: accuracy 0.86" in lines["bicocca_cnn"]


def test_quick_answers_import_nothing_heavy(repository: Path) -> None:
    quick = [
        ["run", "--help"],
        ["retrain", "--help"],
        ["run", "--study", "no_such_study"],
        ["run", "--study", "quickstart", "--budget", "x"],
        ["retrain", "--config", "no_such.yaml", "--data", "digits"],
        ["export", "--run", "no/such/run", "--formats", "keras,saved_model"],
        ["evaluate", "--model", "no_such.keras", "--data", "digits"],
        *(["list", kind] for kind in KINDS),
    ]
    script = (
        "import sys\n"
        "from search.cli import app as cli\n"
        f"for arguments in {quick!r}:\n"
        "    cli.invoke(arguments)\n"
        f"    print(arguments, [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    output = _python(["-c", script], repository).stdout

    for arguments in quick:
        assert f"{arguments} []\n" in output


def test_help_does_without_optuna_and_numpy(repository: Path) -> None:
    script = (
        "import sys\n"
        "from search.cli import app as cli\n"
        "cli.invoke(['run', '--help'])\n"
        "print([name for name in ('optuna', 'numpy') if name in sys.modules])\n"
    )

    assert _python(["-c", script], repository).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_module_too(command: str, repository: Path) -> None:
    done = _python(["-m", f"search.{command}", "--help"], repository)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: python -m search.{command} ")


def test_a_module_reports_bad_arguments_like_the_script(repository: Path) -> None:
    done = _python(["-m", "search.run", "--study", "quickstart", "--budget", "x"], repository)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --budget")


def test_a_reader_that_stops_early_is_no_error(repository: Path) -> None:
    command = f"{sys.executable} -m search.list blocks --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "Traceback" not in done.stderr


def _calls(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[dict[str, Any]]:
    """Replaces the pipeline with a recorder that returns or raises `answer`."""
    from search import pipeline

    calls: list[dict[str, Any]] = []

    def run_study(study: object, **options: Any) -> object:
        calls.append({"study": study, **options})
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(pipeline, "run_study", run_study)
    return calls


@pytest.fixture(autouse=True)
def _short_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("summarize", "summarize_run"):
        monkeypatch.setattr(summary, name, str)


def test_run_hands_every_option_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = _calls(monkeypatch, "all is well")
    line = (
        "run --study quickstart --data digits --trials 7 --budget 1h30m --storage sqlite:///a.db "
        "--study-name second --metric macro_f1 --class-weights balanced --seed 5 "
        "--retrain-epochs 9 --retrain-budget 90s "
        "--image-size 24x16 --fit pad --max-bad-files 2% --layout classes --precision float32 "
        "--xla off "
        "--cache-limit 2G --runs-directory out --warm-start recipes --workers 3 --retries 4 "
        "--stall-timeout 2m --engine ray --address 127.0.0.1:6379 --cpus-each 2 --gpus-each 0.5 "
        "--no-retrain --retrain-again --artifacts s3://results/here"
    )

    assert cli.invoke(line.split()) == 0

    assert capsys.readouterr().out == "all is well\n"
    (call,) = calls
    del call["progress"]
    command = call["study"].command
    assert call == {
        "study": replace(load_study("quickstart"), command=command),
        "data": DataSource(
            location="digits", image_size=(24, 16), fit="pad", max_bad_files=0.02, layout="classes"
        ),
        "budget": Budget(
            seconds=5400.0,
            trials=7,
            retrain=False,
            retraining_seconds=90.0,
            retraining_epochs=9,
        ),
        "storage": "sqlite:///a.db",
        "study_name": "second",
        "metric": "macro_f1",
        "class_weights": "balanced",
        "seed": 5,
        "warm_start": "recipes",
        "workers": RayWorkers(
            number=3,
            limits=WorkerLimits(retries=4, stall_seconds=120.0),
            address="127.0.0.1:6379",
            cpus=2.0,
            gpus=0.5,
        ),
        "compute": Compute(precision="float32", xla="off"),
        "places": Places(
            runs_directory=Path("out"), artifacts="s3://results/here", cache_limit=2 * 2**30
        ),
        "retrain_again": True,
    }
    # The command that is kept with the study asks for the same, but opens no test images again.
    assert cli.invoke(shlex.split(command)[3:]) == 0
    again = calls[1]
    del again["progress"]
    assert again == {**call, "retrain_again": False}


def test_the_command_that_is_kept_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _calls(monkeypatch, "all is well")
    storage = "postgresql+psycopg://me:secret@host/studies"

    assert cli.invoke(["run", "--data", "it's here", "--storage", storage]) == 0

    assert calls[0]["storage"] == storage
    assert calls[0]["study"].command == (
        "python -m search run --data 'it'\"'\"'s here' "
        "--storage 'postgresql+psycopg://me:***@host/studies'"
    )


def test_limits_that_are_not_given_are_the_workers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _calls(monkeypatch, "all is well")

    assert cli.invoke(["run", "--study", "quickstart"]) == 0

    assert calls[0]["workers"] == LocalWorkers(number=load_study("quickstart").spec.workers)


def test_a_recipe_gets_the_options_of_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search import recipes

    calls: list[dict[str, Any]] = []

    def run_recipe(name: str, **options: Any) -> object:
        calls.append({"name": name, **options})
        return "all is well"

    monkeypatch.setattr(recipes, "run_recipe", run_recipe)
    line = (
        "run --recipe g3_homebrew --data digits --seed 5 --retrain-epochs 9 --retrain-budget 90s "
        "--image-size 24x16 --fit pad --max-bad-files 2% --layout classes --precision float32 "
        "--xla off "
        "--runs-directory out"
    )

    assert cli.invoke(line.split()) == 0

    assert capsys.readouterr().out == "all is well\n"
    (call,) = calls
    del call["progress"]
    assert call == {
        "name": "g3_homebrew",
        "data": DataSource(
            location="digits", image_size=(24, 16), fit="pad", max_bad_files=0.02, layout="classes"
        ),
        "seed": 5,
        "epochs": 9,
        "budget_seconds": 90.0,
        "compute": Compute(precision="float32", xla="off"),
        "places": Places(runs_directory=Path("out"), cache_limit=20 * 2**30),
        "retrain_again": False,
    }


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("The rule.\n  Received 3."), 2, "error: The rule. Received 3.\n"),
        (SearchFailure("all 4 trials failed"), 1, "error: all 4 trials failed\n"),
        (SearchInterrupted("run it again to go on"), 130, "run it again to go on\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
    ids=["bad input", "no result", "interrupted", "interrupted early"],
)
def test_each_ending_has_its_code_and_line(
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _calls(monkeypatch, error)

    assert cli.invoke(["run", "--study", "quickstart"]) == code
    assert capsys.readouterr().err == text


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _calls(monkeypatch, ZeroDivisionError("a defect"))

    with pytest.raises(ZeroDivisionError, match="a defect"):
        cli.invoke(["run", "--study", "quickstart"])


def _python(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def test_backbones_replace_those_of_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _calls(monkeypatch, "all is well")

    line = "run --study fine_tune --backbone VGG16=none --backbone MobileNetV2"
    assert cli.invoke(line.split()) == 0

    spec = calls[0]["study"].spec
    assert [backbone.family for backbone in spec.backbones] == ["VGG16", "MobileNetV2"]
    assert [backbone.weights for backbone in spec.backbones] == ["none", "imagenet"]


def test_the_command_line_names_what_the_library_takes() -> None:
    from search.data import folder_layout, image_fit
    from search.system import runtime

    assert get_args(shared.Fit) == get_args(image_fit.Fit)
    assert shared.DEFAULT_FIT == image_fit.DEFAULT_FIT
    assert get_args(shared.Layout) == get_args(folder_layout.Layout)
    assert get_args(shared.Precision) == get_args(runtime.Precision)
    assert get_args(shared.Xla) == get_args(runtime.Xla)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_errors_are_readable_on_every_console(
    encoding: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(sys, "argv", ["run", "--study", "\u732b\x1b\udce9"])

    with pytest.raises(SystemExit) as exit_info:
        cli.main("run")

    sys.stderr.flush()
    assert exit_info.value.code == 2
    assert written.getvalue().startswith(b"error: ")
    assert rb"\x1b" in written.getvalue() and b"\x1b" not in written.getvalue()
