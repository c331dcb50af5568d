"""Real processes die in every way, and the diagnosis says how."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from search.system.crash import Death, DeathWatch
from tests.support.control_group import memory_group

_MEBIBYTE = 2**20


def _start(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _death(code: str) -> Death:
    """Runs a process to its end; it waits for a line before it runs `code`."""
    process = _start(f"print(flush=True); input()\n{code}")
    assert process.stdout is not None
    process.stdout.readline()
    watch = DeathWatch(process.pid)
    _, words = process.communicate("\n", timeout=60)
    return watch.diagnose(process.returncode, last_words=words)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_signal_is_named(name: str) -> None:
    death = _death(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert (death.signal, death.exit_code, death.out_of_memory) == (name, None, False)
    assert death.describe().startswith(f"killed by {name}, peak memory ")


def test_a_signal_without_a_name_keeps_its_number() -> None:
    number = signal.SIGRTMIN + 3
    assert _death(f"import os; os.kill(os.getpid(), {number})").signal == f"signal {number}"


def test_an_exit_code_is_kept() -> None:
    death = _death("raise SystemExit(3)")
    assert (death.exit_code, death.signal, death.out_of_memory) == (3, None, False)
    assert death.describe().startswith("exited with code 3, peak memory ")


def test_an_abort_for_lack_of_memory_is_told_from_another() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))"
    # C++'s operator new, which TensorFlow also uses.
    new = "import ctypes; ctypes.CDLL('libstdc++.so.6')._Znwm(ctypes.c_size_t(2**40))"
    death = _death(f"{limit}\n{new}")
    assert (death.signal, death.out_of_memory) == ("SIGABRT", True)
    assert death.describe().startswith("killed by SIGABRT (out of memory), peak memory ")
    other = _death("import os; os.abort()")
    assert (other.signal, other.out_of_memory) == ("SIGABRT", False)


def test_python_running_out_of_memory_is_recognised() -> None:
    death = _death("bytearray(2**60)")
    assert (death.exit_code, death.out_of_memory) == (1, True)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", None),
        ("os._exit(7)", None),
    ],
)
def test_an_end_that_nobody_saw_is_told_by_the_words_of_a_fatal_signal(
    code: str, name: str | None
) -> None:
    process = _start(f"import os, signal; print(flush=True); input()\n{code}")
    assert process.stdout is not None
    process.stdout.readline()
    watch = DeathWatch(process.pid)
    _, words = process.communicate("\n", timeout=60)

    death = watch.diagnose_unseen(last_words=words)

    assert (death.signal, death.exit_code, death.out_of_memory) == (name, None, False)
    assert death.describe().startswith(f"killed by {name}, " if name else "died, peak memory ")


def test_an_end_that_nobody_saw_may_be_one_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 4\n")
    monkeypatch.setattr("search.system.crash._counters", lambda process_id: iter([counter]))
    watch = DeathWatch(os.getpid())
    # A warning that the process survived does not make its death an out-of-memory kill.
    assert not watch.diagnose_unseen(last_words="RESOURCE_EXHAUSTED: handled").out_of_memory
    aborted = watch.diagnose_unseen(last_words="std::bad_alloc\nFatal Python error: Aborted\n")
    assert (aborted.signal, aborted.out_of_memory) == ("SIGABRT", True)

    counter.write_text("oom_kill 5\n")
    watch = pickle.loads(pickle.dumps(watch))

    killed = watch.diagnose_unseen(last_words="")
    assert (killed.signal, killed.out_of_memory) == ("SIGKILL", True)
    # A process with another cause of death was not the one that the kernel killed.
    other = watch.diagnose_unseen(last_words="Fatal Python error: Segmentation fault\n")
    assert (other.signal, other.out_of_memory) == ("SIGSEGV", False)


def test_words_alone_do_not_make_a_good_end_or_a_kill_one_of_memory() -> None:
    words = "import sys; print('RESOURCE_EXHAUSTED: handled', file=sys.stderr, flush=True)"
    assert not _death(words).out_of_memory
    killed = _death(f"{words}\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (killed.signal, killed.out_of_memory) == ("SIGKILL", False)


def test_the_peak_memory_outlives_it() -> None:
    hold = f"b = bytearray(300 * {_MEBIBYTE})\nprint('held', flush=True); input()"
    free = "del b\nprint('freed', flush=True); input()"
    process = _start(f"{hold}\n{free}")
    assert process.stdin is not None
    assert process.stdout is not None
    watch = DeathWatch(process.pid)
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()
    if sys.platform.startswith("linux"):
        watch.sample()  # The kernel records the peak even if no sample catches it.
    process.kill()
    process.communicate()
    watch.sample()
    peak = watch.diagnose(process.returncode).peak_memory_mib
    assert peak is not None
    assert 300 <= peak < 400


def test_a_process_that_has_already_ended_is_diagnosed() -> None:
    process = _start("raise SystemExit(4)")
    process.communicate()
    death = DeathWatch(process.pid).diagnose(process.returncode)
    assert death == Death(4, None, False, None)
    assert death.describe() == "exited with code 4"


@pytest.mark.parametrize(("waited", "exhausted"), [(0, True), (9, True), (30, False)])
def test_looks_between_the_kernels_kill_and_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited: int, exhausted: bool
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom 4\noom_kill 4\n")
    monkeypatch.setattr("search.system.crash._counters", lambda process_id: iter([counter]))
    now = [1000.0]
    process = _start("input()")
    watch = DeathWatch(process.pid, clock=lambda: now[0])
    # One sample is long before the kill, as if the supervisor had been busy.
    now[0] += 60
    counter.write_text("oom 5\noom_kill 5\n")
    for _ in range(waited + 1):
        watch.sample()
        now[0] += 1
    process.kill()
    process.communicate()

    assert watch.diagnose(process.returncode).out_of_memory is exhausted


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 64 MiB."""
    with memory_group(64 * _MEBIBYTE) as group:
        yield group


def _start_inside(group: Path, code: str) -> "subprocess.Popen[str]":
    process = _start(f"print(flush=True); input()\n{code}")
    assert process.stdout is not None
    process.stdout.readline()
    (group / "cgroup.procs").write_text(str(process.pid))
    return process


def test_the_kernels_kill_for_lack_of_memory_is_told_from_a_plain_one(small_group: Path) -> None:
    grow = f"held = []\nwhile True: held.append(bytearray({_MEBIBYTE}))"
    process = _start_inside(small_group, grow)
    watch = DeathWatch(process.pid)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        watch.sample()
    watch.sample()
    process.communicate(timeout=60)
    death = watch.diagnose(process.returncode)
    assert (death.signal, death.out_of_memory) == ("SIGKILL", True)
    assert death.describe().startswith("killed by SIGKILL (out of memory), peak memory ")

    # The earlier kill stays in the kernel's count, and does not belong to this process.
    other = _start_inside(small_group, "input()")
    watch = DeathWatch(other.pid)
    other.kill()
    other.communicate()
    assert not watch.diagnose(other.returncode).out_of_memory


def test_a_kill_of_another_group_is_not_this_process_own(small_group: Path) -> None:
    bystander = _start("input()")
    watch = DeathWatch(bystander.pid)
    process = _start_inside(small_group, f"bytearray(500 * {_MEBIBYTE})")
    process.communicate("\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    bystander.kill()
    bystander.communicate()
    assert not watch.diagnose(bystander.returncode).out_of_memory
