"""Locks between processes, with and without file system support."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from search.system.locks import only_one


def test_a_second_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lock"
    with only_one(path) as first, only_one(path) as second:
        assert (first, second) == (True, False)
    with only_one(path) as again:
        assert again


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_locks_each_is_the_only_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)

    with only_one(tmp_path / "a.lock") as first:
        assert first
