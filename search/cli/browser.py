"""Opens an address in a browser where a person can see it."""

import os
import sys
import threading
import webbrowser


def open_in_browser(address: str) -> None:
    """Opens an address if someone is at the terminal of this machine and it has a screen."""
    if sys.stdout.isatty() and _has_screen():
        # Some browsers do not return until they are closed.
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()


def _has_screen() -> bool:
    """Returns whether windows that this process opens are visible to its user."""
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
