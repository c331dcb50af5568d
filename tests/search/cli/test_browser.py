"""When a browser is opened."""

import sys
import threading
import webbrowser

import pytest

from search.cli.browser import open_in_browser


@pytest.mark.parametrize(
    ("platform", "variables", "in_terminal", "is_opened"),
    [
        ("linux", {}, True, False),
        ("linux", {"DISPLAY": ":0"}, True, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ("linux", {"DISPLAY": ":0"}, False, False),
        ("darwin", {}, True, True),
        ("darwin", {"SSH_CONNECTION": "10.0.0.1 22"}, True, False),
    ],
)
def test_a_browser_opens_where_someone_can_see_it(
    platform: str,
    variables: dict[str, str],
    in_terminal: bool,
    is_opened: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = threading.Event()
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.set())
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: in_terminal)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    open_in_browser("http://127.0.0.1:8080")

    assert opened.wait(10 if is_opened else 0.2) is is_opened
