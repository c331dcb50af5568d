"""The README's promises: its commands parse, its tutorial runs to an exported model."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from search.cli import app as cli

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _tutorial(opening: str) -> str:
    (code,) = [block for block in _blocks("python") if block.startswith(f'"""{opening}')]
    return code


COMMANDS = [
    shlex.split(line.partition("#")[0])
    for block in _blocks("bash")
    for line in block.splitlines()
    if "-m search" in line
]


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:14])

    assert "make run" in first_screen
    assert "search.run --data path/to/images --budget" in first_screen


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_parse(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = command[command.index("-m") + 1 :]
    module = words.pop(0).removeprefix("search.")
    if module == "search":
        module = words.pop(0)
    called: list[str] = []
    # Every command ends at its own parser: the callback only notes that the arguments were legal.
    root: Any = typer.main.get_command(cli.app)
    target = root.commands[module]
    if hasattr(target, "commands"):
        target = target.commands[words.pop(0)]
    monkeypatch.setattr(target, "callback", lambda **options: called.append(module))

    target.main(words, standalone_mode=False)

    assert called == [module]


def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in _blocks("python") if "run_study" in block]
    monkeypatch.chdir(tmp_path)
    code = code.replace("trials=4, retrain_epochs=3", "trials=1, retrain_epochs=1")
    variables: dict[str, Any] = {}

    exec(compile(code, "README.md", "exec"), variables)

    assert (variables["result"].directory / "model.keras").is_file()


@pytest.mark.parametrize(
    ("name", "opening", "components"),
    [
        pytest.param("my_study.py", "Kernel size", set(), marks=pytest.mark.slow),
        ("fire_study.py", "Fire modules", {"fire"}),
    ],
)
def test_the_tutorial_runs_from_its_own_folder(
    name: str, opening: str, components: set[str], tmp_path: Path, repository: Path
) -> None:
    source = tmp_path / name
    shorter = re.sub(r"(?m)^    epochs=\d+,$", "    epochs=1,", _tutorial(opening))
    source.write_text(shorter, encoding="utf-8")
    command = ["--study", name, "--trials", "1", "--retrain-epochs", "1"]

    done = subprocess.run(
        [sys.executable, "-m", "search.run", *command],
        cwd=tmp_path,
        env=_environment(repository),
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert (done.returncode, done.stderr) == (0, "")
    (metrics,) = tmp_path.glob("runs/*/*/metrics.json")
    assert 0 <= json.loads(metrics.read_text(encoding="utf-8"))["test"]["accuracy"] <= 1
    configuration = json.loads((metrics.parent / "best_config.json").read_text(encoding="utf-8"))
    assert set(configuration["components"]) == components
    assert all(Path(path) == source for path in configuration["components"].values())


def _environment(repository: Path) -> dict[str, str]:
    paths = [str(repository), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
