"""Paths as users type them."""

from pathlib import Path

import pytest

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path


def test_a_home_folder_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert user_path("~/images") == Path("/home/somebody/images")
    assert user_path(Path("runs")) == Path("runs")


def test_an_unknown_home_folder_is_a_users_error() -> None:
    with pytest.raises(UserError, match=r"'~nobody-of-that-name/x'.*Fix: write the full path"):
        user_path("~nobody-of-that-name/x")
