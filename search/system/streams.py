"""Makes standard output and standard error accept any text."""

import io
import sys


def escape_unencodable() -> None:
    """Makes standard output and error escape unencodable characters instead of raising.

    Otherwise a console or log file in cp1252 or ASCII would end a command at the first file or
    class name that it cannot encode.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
