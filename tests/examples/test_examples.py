"""Every program in examples/ runs as it is and says what it found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# How each is started, as its docstring says.
COMMANDS = {
    "own_study.py": ["-m", "search.run", "--study", "own_study.py"],
    "own_block.py": ["-m", "search.run", "--study", "own_block.py"],
    "transfer.py": ["transfer.py"],
    "arrays.py": ["arrays.py"],
}


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_opens_with_its_command_and_an_expected_result(name: str) -> None:
    document = (EXAMPLES / name).read_text(encoding="utf-8").split('"""')[1]
    command = " ".join(["python", *COMMANDS[name]]).replace(name, f"examples/{name}")

    assert f"\n\n    {command}\n\nExpect: " in document


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_runs(name: str, tmp_path: Path, repository: Path) -> None:
    (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    paths = [str(repository), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    done = subprocess.run(
        [sys.executable, *COMMANDS[name]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )

    # Started from Python, TensorFlow may say on standard error what its processor lacks.
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout or "%" in done.stdout
    assert list(tmp_path.glob("runs/*/*/metrics.json")) != []
