"""A memory control group of one's own, in which the kernel kills what needs too much."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(size: int) -> Iterator[Path]:
    """Yields the folder of a control group of so many bytes; processes inside must have ended.

    A process enters with what it starts when its id is written to `cgroup.procs`. Skips the test,
    and says why, where none can be made.
    """
    version_1 = (_GROUPS / "memory").is_dir()
    group = (_GROUPS / "memory" if version_1 else _GROUPS) / f"small-{uuid.uuid4().hex[:8]}"
    limits = (
        ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        if version_1
        else ["memory.max", "memory.swap.max"]
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / limits[0]).write_text(str(size))
        except OSError as error:
            pytest.skip(f"no control group's memory can be limited here: {error}")
        if (group / limits[1]).exists():
            (group / limits[1]).write_text(str(size) if version_1 else "0")
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(50):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.1)  # The kernel takes a dead process out of its group a little later.
    group.rmdir()
