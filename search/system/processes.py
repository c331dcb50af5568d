"""Identities of processes and machines that survive reused process ids and clock changes."""

import os
import socket
import sys
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TICKS = 0, 19  # Fields 3 and 22 of proc(5), counted after the name.


def process_identity(process_id: int) -> str | None:
    """Returns an identity that differs for a later process with the same id; None if it has ended.

    On Linux it is the boot id and the start time in ticks since boot. psutil's `create_time` also
    depends on the wall clock there, and changes whenever the clock is set. A zombie has ended.
    """
    if not sys.platform.startswith("linux"):
        return _identity_elsewhere(process_id)
    try:
        line = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The process name in parentheses may itself contain parentheses and spaces.
    fields = line.rpartition(")")[2].split()
    return None if fields[_STATE] in "ZX" else f"{_boot()}:{fields[_START_TICKS]}"


def host_identity() -> str:
    """Returns a name for the scope in which process ids can be compared.

    Containers on one machine may share a host name, although the same id means a different process
    in each. A user may also be unable to see the processes of others (`hidepid`). Therefore the
    name on Linux includes the boot id, the process id namespace and the user.
    """
    if not sys.platform.startswith("linux"):
        return socket.gethostname()
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()} {_boot()} {namespace} user:{os.getuid()}"


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "-"


def _identity_elsewhere(process_id: int) -> str | None:
    try:
        process = psutil.Process(process_id)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
