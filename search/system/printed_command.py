"""Commands printed for the user to paste into a shell."""

import os
import shlex
import subprocess


def printed_command(*words: str) -> str:
    """Returns a command line that the system's shell splits into exactly these words."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
