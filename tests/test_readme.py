"""The documents' promises: links lead somewhere, commands parse, code runs, names are listed."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import cnn_blocks
import search
import spaces
import studies
from search.cli import app as cli
from tests.support.documents import PAGES, REPOSITORY, blocks, name_of, prose, read, spans
from tests.test_imports import ROOMS

README = read("README.md")
INDEX = read("docs/index.md")
MAKEFILE = read("Makefile")
MOST_WORDS = 900
PYTHON = ("python", ".venv/bin/python")
# Programs that the documents call and that are not ours.
OTHERS = {"cd", "git", "hf", "pip", "pre-commit", "source"}
# Options in running text that belong to other programs.
# (`--opt_out` ends at its underscore here).
OTHERS_OPTIONS = {"--opt"}


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def _commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of every command in a page's blocks."""
    for block in blocks(page.read_text(encoding="utf-8"), "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]  # the environment of a command
            while "&&" in words:
                yield words[: words.index("&&")]
                words = words[words.index("&&") + 1 :]
            if words:
                yield words


def _inline_commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of the whole commands of ours within a page's running text."""
    for span in spans(page.read_text(encoding="utf-8")):
        if re.match(r"(python -m search\S*|cnn-search|make) \w", span):
            yield shlex.split(span)


COMMANDS = [
    pytest.param(words, id=f"{name_of(page)}: {' '.join(words)}")
    for page in PAGES
    for words in (*_commands(page), *_inline_commands(page))
]


def _ours(words: list[str]) -> list[str] | None:
    """Returns command and arguments of a call of this program; None for other programs."""
    if words[0] == "cnn-search":
        return words[1:]
    if words[0] not in PYTHON or words[1] != "-m":
        return None
    package, _, command = words[2].partition(".")
    return [*([command] if command else []), *words[3:]] if package == "search" else None


def _parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a command's own parser read its arguments; nothing is done."""
    target: Any = typer.main.get_command(cli.app)
    while hasattr(target, "commands"):
        target = target.commands[words.pop(0)]
    called: list[bool] = []
    # The callback only notes that the arguments were legal.
    monkeypatch.setattr(target, "callback", lambda **options: called.append(True))
    target.main(words, standalone_mode=False)
    assert called == [True]


def test_the_front_page_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:14])

    assert "git clone" in first_screen
    assert "make run" in first_screen
    assert "search.run --data path/to/images --budget" in first_screen


def test_the_front_page_leads_to_every_page() -> None:
    # Not directly, because the pages are too many for a front page: the index lists them all.
    documents = [page.name for page in PAGES if page.parent.name == "docs"]

    assert "](docs/index.md)" in README and "](CONTRIBUTING.md)" in README
    assert [name for name in documents if f"]({name})" not in INDEX] == ["index.md"]


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"https?://", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)

    assert broken == []


def _anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_anchors_are_githubs() -> None:
    assert "postgresql-and-the-storage-proxy" in _anchors(REPOSITORY / "docs" / "storage.md")
    assert "crop-pad-or-stretch" in _anchors(REPOSITORY / "docs" / "benchmarks.md")


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _ours(words)
    if ours is not None:
        _parse(ours, monkeypatch)
    elif words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word}
        variables = {word.partition("=")[0] for word in words[1:] if "=" in word}
        (phony,) = re.findall(r"(?m)^\.PHONY: (.*)$", MAKEFILE)
        assert targets <= set(phony.split())
        assert all(f"$({variable})" in MAKEFILE for variable in variables)
    elif words[0] in PYTHON and words[1] == "-c":
        compile(words[2], "-c", "exec")
    elif words[0] in PYTHON and words[1:3] != ["-m", "pytest"]:
        place = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        assert (REPOSITORY / place).is_file()
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
        extras = re.findall(r"\[(\w+)\]", " ".join(words))
        assert set(extras) <= set(project["project"]["optional-dependencies"])
    else:
        assert words[0] in {*OTHERS, *PYTHON}


@every_page
def test_options_in_running_text_are_real(page: Path) -> None:
    named = {
        option
        for span in spans(page.read_text(encoding="utf-8"))
        if not span.startswith("make ")
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", span)
    }

    assert named - _options() - OTHERS_OPTIONS == set()


def _options() -> set[str]:
    waiting: list[Any] = [typer.main.get_command(cli.app)]
    found: set[str] = {"--help"}
    while waiting:
        command = waiting.pop()
        waiting.extend(getattr(command, "commands", {}).values())
        for parameter in command.params:
            found.update(parameter.opts, parameter.secondary_opts)
    return found


@every_page
def test_python_compiles(page: Path) -> None:
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        compile(code, name_of(page), "exec")


def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks(README, "python") if "run_study" in block]
    monkeypatch.chdir(tmp_path)
    shorter = "budget=search.Budget(trials=1, retraining_epochs=1)"
    code = code.replace("trials=4", shorter)
    variables: dict[str, Any] = {}

    exec(compile(code, "README.md", "exec"), variables)

    assert (variables["result"].directory / "model.keras").is_file()


def test_a_candidate_is_built_as_the_python_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = [block for block in blocks(page, "python") if "FixedTrial" in block]

    exec(compile(code, "docs/python.md", "exec"), {})

    assert "Total params" in capsys.readouterr().out


def test_the_python_page_lists_every_public_name() -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    listed = set(spans(page))

    for package in (cnn_blocks, search, spaces, studies):
        assert set(package.__all__) - listed == set()


def _tutorial(opening: str) -> str:
    page = (REPOSITORY / "docs" / "studies.md").read_text(encoding="utf-8")
    (code,) = [block for block in blocks(page, "python") if block.startswith(f'"""{opening}')]
    return code


@pytest.mark.parametrize(
    ("name", "opening"), [("own_study.py", "Kernel size"), ("own_block.py", "A block of your own")]
)
def test_the_tutorial_shows_the_examples(name: str, opening: str) -> None:
    example = (REPOSITORY / "examples" / name).read_text(encoding="utf-8")

    assert _tutorial(opening) == example
    imports = re.findall(r"(?m)^from (?:cnn_blocks|spaces|studies|search)\b.*$", example)
    assert len(imports) == 2


@pytest.mark.parametrize(
    ("name", "opening", "components"),
    [
        pytest.param("my_study.py", "Kernel size", set(), marks=pytest.mark.slow),
        ("fire_study.py", "A block of your own", {"fire"}),
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
        timeout=600,
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


def test_the_guide_lists_the_rooms_in_their_order() -> None:
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.findall(r"(?m)^\| `search\.(\w+)` \|", guide)

    assert listed == [room for floor in ROOMS for room in floor]
    for floor in ROOMS:
        for position, room in enumerate(floor):
            (row,) = re.findall(rf"(?m)^\| `search\.{room}` \|.*$", guide)
            beside = ", ".join(f"`{other}`" for other in floor[:position])
            assert row.endswith(f"above, not {beside} |") == bool(beside)
