"""Child processes can import the same modules as their parent."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from pathlib import Path
from search.system.child_process import ChildProcess

child = ChildProcess("neighbour", environment={}, log=Path("child.log"))
assert child.wait() == 0, child.last_words()
"""


def test_a_child_imports_the_modules_beside_the_script(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "neighbour.py").write_text("")
    (folder / "script.py").write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, folder / "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stderr) == (0, "")
