"""The wheel holds the four packages and nothing else, and works far from the repository."""

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = {"cnn_blocks", "spaces", "studies", "search"}
REPOSITORY = Path(__file__).resolve().parent.parent
LOCK_FILES = [
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-exports.lock",
    "requirements-docs.lock",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel from what a clone would hold, without any download."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    # A copy, because setuptools leaves build/ behind and would pack stale files from it.
    listed = _run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], REPOSITORY
    )
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    _run([sys.executable, *build], target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacks the wheel as pip would, without dependencies."""
    target = tmp_path_factory.mktemp("installed")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    _run([sys.executable, *pip, str(wheel)], target)
    return target


def test_the_wheel_holds_every_module_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    modules = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
    }

    assert {name.split("/")[0] for name in names} == PACKAGES
    assert {name for name in names if name.endswith(".py")} == modules
    assert [name for name in names if "test" in name.lower()] == []


def test_the_wheel_declares_what_it_imports(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    required = metadata.get_all("Requires-Dist") or []
    always = {re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line}

    assert metadata["Requires-Python"] == ">=3.11"
    assert {"cuda", "jax", "torch", "dev"} <= set(metadata.get_all("Provides-Extra") or [])
    assert {"keras", "keras-tuner", "optuna", "six", "tensorboard", "tensorflow"} <= always
    assert always.isdisjoint({"jax", "pytest", "torch"})


@pytest.mark.parametrize("command", ["run", "list", "export", "retrain"])
def test_the_installed_commands_answer_from_an_empty_folder(
    command: str, installed: Path, tmp_path: Path
) -> None:
    done = _run([sys.executable, "-m", f"search.{command}", "--help"], tmp_path, installed)

    assert f"Usage: python -m search.{command} " in done
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_lists_what_the_wheel_ships(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "cnn-search"

    assert "quickstart" in _run([sys.executable, str(script), "list"], tmp_path, installed)
    assert "plain" in _run([sys.executable, str(script), "list", "blocks"], tmp_path, installed)


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_files_pin_and_hash_and_name_no_index(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=\S)", text.replace("\\\n", " "))
    entries = [entry for entry in entries if entry.strip() and not entry.startswith("#")]

    assert len(entries) > 40
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+ ", entry), entry.split()[0]
        assert "--hash=sha256:" in entry
    assert "://" not in text
    assert re.findall(r"(?m)^(?:-|torch==|jax==|nvidia)", text) == []


def test_every_lock_file_has_the_versions_that_users_get() -> None:
    main, development, *added = (
        set(re.findall(r"(?m)^[a-z0-9._-]+==\S+", (REPOSITORY / name).read_text(encoding="utf-8")))
        for name in LOCK_FILES
    )

    assert main <= development
    for pinned in added:
        assert main <= pinned
        # `make test-exports` and `make docs` install the one over the other.
        shared = {line.partition("==")[0] for line in pinned - development}
        assert shared.isdisjoint(line.partition("==")[0] for line in development)


def _run(command: list[str], folder: Path, path: Path | None = None) -> str:
    # Without the repository on the path, or its own modules would answer.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
