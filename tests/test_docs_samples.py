"""The documents' samples run, and the error messages that they explain are those of the code."""

import ast
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest

import search
from cnn_blocks import registry
from search.cli import app as cli
from search.pipeline import run_study
from spaces.probe import explore
from studies.study import load_study
from tests.support.documents import REPOSITORY, blocks, read

PACKAGES = ("cnn_blocks", "spaces", "studies", "search")
# The fewest letters by which a message is recognised.
LEAST_LETTERS = 25


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The variables of a page's samples: a few images; searches only draw candidates."""

    def draw(study: Any, **options: Any) -> Any:
        explore(load_study(study).spec.candidate, draws=2)
        return result

    stub = create_autospec(run_study, side_effect=draw)
    result = stub.return_value
    monkeypatch.setattr(search, "run_study", stub)
    monkeypatch.setattr(
        registry, "_registered", {role: registry.components(role) for role in registry.ROLES}
    )
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    labels = random.integers(0, 10, 40)
    return {
        "__name__": "samples",
        "images": images,
        "labels": labels,
        "test_images": images,
        "test_labels": labels,
        "searches": stub,
    }


def _run(page: str, variables: dict[str, Any], *, leave_out: str = "\0", **changes: str) -> None:
    for code in blocks(read(page), "python"):
        if leave_out in code:
            continue
        for old, new in changes.items():
            code = re.sub(rf"\b{old}=\d+", f"{old}={new}", code)
        exec(compile(code, page, "exec"), variables)


def test_the_samples_of_what_to_write_build_networks(
    samples: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _run("docs/extending.md", samples)

    assert samples["searches"].call_count == 1
    assert samples["model"].output_shape == (None, 2)
    assert "Total params" in capsys.readouterr().out
    assert samples["Pyramid"](filters=4)(_images()).shape == (None, 16, 16, 8)


def _images() -> Any:
    import keras

    return keras.Input((32, 32, 3))


def test_the_samples_beside_other_tools_run(samples: dict[str, Any]) -> None:
    # AutoKeras is not installed: its sample is compiled by test_readme.py.
    _run("docs/other_tools.md", samples, leave_out="import autokeras", epochs="1", n_trials="1")

    assert samples["searches"].call_count == 2
    assert len(samples["study"].trials) == 1
    tuned = samples["build"](samples["keras_tuner"].HyperParameters())
    assert tuned.loss == "sparse_categorical_crossentropy"


def test_the_tutorial_writes_a_data_set(samples: dict[str, Any], tmp_path: Path) -> None:
    _run("docs/tutorial.md", samples)

    assert len(list((tmp_path / "photos").glob("*/*.png"))) == 1797
    assert len(list((tmp_path / "photos").iterdir())) == 10


@pytest.mark.slow
def test_the_tutorial_leads_from_images_to_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    _run("docs/tutorial.md", {"__name__": "samples"})
    commands = list(_commands("docs/tutorial.md"))
    run = "run --data photos --budget 2m"
    (predict,) = (command for command in commands if command.endswith("--top 3"))
    assert {run, f"{run} --dry-run"} <= set(commands)

    assert cli.invoke([*run.split(), "--dry-run", "--backbone", "none"]) == 0
    assert "time plan: 2 min 00 s in total" in capsys.readouterr().out
    assert cli.invoke([*run.replace("2m", "20s").split(), "--backbone", "none"]) == 0
    (model,) = tmp_path.glob("runs/auto/*/model.keras")
    assert model.with_name("report.html").is_file()
    shutil.copytree(tmp_path / "photos" / "7", tmp_path / "new")
    predict = predict.replace("RUN", str(model.parent)).replace("path/to/new_photos", "new")
    capsys.readouterr()
    assert cli.invoke(predict.split()) == 0
    assert "0007.png" in capsys.readouterr().out


def _commands(page: str) -> Iterator[str]:
    for block in blocks(read(page), "bash"):
        for line in block.splitlines():
            if line.startswith("python -m search "):
                yield line.removeprefix("python -m search ").partition("  #")[0].strip()


MESSAGES = [
    " ".join(message.split()).removeprefix("error: ")
    for message in blocks(read("docs/errors.md"), "text")
]
NOTES = re.findall(r"(?m)^\| `([^`]+)` \|", read("docs/errors.md"))


def test_the_page_of_errors_explains_many_with_cause_and_fix() -> None:
    page = read("docs/errors.md")
    entries = re.split(r"(?m)^### ", page.split("## Notes")[0])[1:]

    assert len(MESSAGES) == len(entries) >= 15
    for entry in entries:
        assert re.search(r"\*\*Cause( and fix)?\.\*\* ", entry), entry
        assert re.search(r"(\*\*Fix\.\*\*|\*\*Cause and fix\.\*\*) ", " ".join(entry.split())), (
            entry
        )


@pytest.mark.parametrize("message", [*MESSAGES, *NOTES], ids=lambda text: text[:40])
def test_the_messages_are_those_of_the_code(message: str) -> None:
    assert any(_may_print(texts, message) for texts in _texts_of_the_code())


@cache
def _texts_of_the_code() -> list[list[str | None]]:
    """Returns the long texts in the code in pieces; None stands for a value."""
    found = []
    for path in sorted(path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            values = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            texts = [value if isinstance(value, str) else None for value in values]
            if sum(map(len, filter(None, texts))) >= LEAST_LETTERS:
                found.append(
                    [None if text is None else re.sub(r"\s+", " ", text) for text in texts]
                )
    return found


def _may_print(texts: list[str | None], message: str) -> bool:
    """Returns whether a text of the code can be the message, with any values in it."""
    if any(text is not None and text not in message for text in texts):
        return False
    pattern = "".join(".*" if text is None else re.escape(text) for text in texts)
    return re.fullmatch(pattern, message) is not None


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "run --study quickstrat",
        "run --study quickstart --backbone VGG16",
        "run --study quickstart --storage runs/studies.db",
        "export --run runs/auto",
    ],
)
def test_a_mistake_shows_what_the_page_explains(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.invoke(command.split()) == 2

    printed = " ".join(capsys.readouterr().err.split())
    assert printed.removeprefix("error: ") in MESSAGES
