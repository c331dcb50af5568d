"""Which process on which machine: names that outlive the reuse of ids and changes of the clock."""

import os
import socket
import sys
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TICKS = 0, 19  # Fields 3 and 22 of proc(5), counted from behind the name.


def process_identity(process_id: int) -> str | None:
    """Returns what tells a process from a later one with the same id; None when it has ended.

    On Linux that is its start in ticks since boot, with the boot. psutil's `create_time` adds the
    wall clock there, and changes whenever the clock is set. A zombie has ended.
    """
    if not sys.platform.startswith("linux"):
        return _identity_elsewhere(process_id)
    try:
        line = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may itself hold brackets and spaces.
    fields = line.rpartition(")")[2].split()
    return None if fields[_STATE] in "ZX" else f"{_boot()}:{fields[_START_TICKS]}"


def host_identity() -> str:
    """Returns a name of the machine, within which process ids can be compared.

    Containers of one machine may share a host name while the same id means another process in each;
    and a user may not be shown the processes of others (`hidepid`). So on Linux the boot, the
    namespace of process ids and the user belong to the name.
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
