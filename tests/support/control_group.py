"""A memory control group in which the kernel kills processes that need too much memory."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(size: int) -> Iterator[Path]:
    """Yields the folder of a control group limited to `size` bytes of memory.

    Write a process's id to `cgroup.procs` to add it, with the processes that it starts later. All
    of them must have ended when the block exits. Skips the test, with the reason, if no control
    group can be created.
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
            time.sleep(0.1)  # The kernel removes a dead process from its group with a delay.
    group.rmdir()
