"""Processes are identified without the wall clock, and machines by more than their names."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.system.processes import host_identity, process_identity

_SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_keeps_its_identity_for_as_long_as_it_lives() -> None:
    with subprocess.Popen(_SLEEP) as process:
        try:
            first = process_identity(process.pid)
            assert first is not None
            process.send_signal(signal.SIGSTOP)
            assert process_identity(process.pid) == first
        finally:
            process.kill()
    assert process_identity(process.pid) is None


def test_a_zombie_has_no_identity() -> None:
    process = subprocess.Popen(_SLEEP)
    process.kill()
    # Waits for the exit without reaping the process, so that it stays a zombie.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_identity(process.pid) is None
    assert Path(f"/proc/{process.pid}").exists() or not sys.platform.startswith("linux")
    process.wait()


def test_another_process_has_another_identity() -> None:
    # Start times are counted in ticks of ten milliseconds.
    time.sleep(0.05)
    with subprocess.Popen(_SLEEP) as process:
        assert process_identity(process.pid) != process_identity(os.getpid())
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads process names in /proc")
def test_a_name_with_brackets_and_spaces_is_no_obstacle(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "600"]) as process:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
        identity = process_identity(process.pid)
        assert identity is not None
        assert identity.endswith(f":{fields[19]}")
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it has the clock")
def test_the_identity_does_not_hold_the_wall_clock() -> None:
    identity = process_identity(os.getpid())
    assert identity is not None
    seconds_since_boot = int(identity.rpartition(":")[2]) / os.sysconf("SC_CLK_TCK")
    assert 0 < seconds_since_boot <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_host_is_the_same_for_a_process_of_this_machine() -> None:
    assert _identities_of([]) == [host_identity(), process_identity(os.getpid())]


def test_the_same_process_id_of_another_namespace_is_on_another_host() -> None:
    unshare = [["unshare", "--pid", "--fork", "--mount-proc"]]
    unshare.append([*unshare[0], "--user", "--map-root-user"])
    allowed = [way for way in unshare if shutil.which(way[0]) and _works([*way, "true"])]
    if not allowed:
        pytest.skip("no process id namespace can be created here: `unshare --pid` is refused")
    host, _ = _identities_of(allowed[0])
    assert host != host_identity()
    assert host.split()[0] == host_identity().split()[0]


def _identities_of(prefix: list[str]) -> list[str]:
    """Returns the identities of this machine and this process as another process sees them."""
    code = (
        "import sys; from search.system.processes import host_identity, process_identity;"
        "print(host_identity()); print(process_identity(int(sys.argv[1])))"
    )
    command = [*prefix, sys.executable, "-c", code, str(os.getpid())]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return out.stdout.splitlines()


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
