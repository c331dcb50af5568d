"""Standard output and error that accept every text."""

import io
import sys


def escape_unencodable() -> None:
    """Makes standard output and error escape what their encoding lacks, instead of raising.

    A console or a log file in cp1252 or ASCII would otherwise end a command at the first name of
    a file or class that it cannot show.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
