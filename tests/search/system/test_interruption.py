"""Ctrl-C and SIGTERM, with real signals."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from search.errors import SearchInterrupted
from search.system.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_a_safe_point(number: signal.Signals) -> None:
    with Interruption() as interruption:
        with interruption.deferred():
            interruption.check()
            os.kill(os.getpid(), number)
            assert interruption.requested
        with pytest.raises(SearchInterrupted):
            interruption.check()


def test_a_request_from_elsewhere_is_no_first_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with Interruption() as interruption, interruption.deferred():
        interruption.requested = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended == []
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]


def test_a_signal_outside_of_a_deferring_block_raises_at_once() -> None:
    with Interruption(), pytest.raises(SearchInterrupted):
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before

    assert signal.getsignal(signal.SIGINT) == before


def test_another_thread_installs_no_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interruption() as interruption:
            interruption.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]


def test_the_second_signal_restores_the_terminal_and_ends_the_process(repository: Path) -> None:
    program = """
import os, signal, time
from search.system.interruption import Interruption
restore = lambda: print("restored", flush=True)
with Interruption(restore_terminal=restore) as interruption, interruption.deferred():
    os.kill(os.getpid(), signal.SIGINT)
    print("still here", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
    print("never", flush=True)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, timeout=60
    )

    assert ended.returncode == 130
    assert ended.stdout.split("\n")[:2] == ["still here", "restored"]
