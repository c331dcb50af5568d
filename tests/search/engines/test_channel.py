"""The connection between a worker and its supervisor."""

import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import pytest

from search.engines.channel import ChannelProgress, Commands
from search.engines.messages import LogPosition, Ready
from search.errors import SearchInterrupted
from search.progress.events import Event, Note, TrialAdvanced, TrialFinished, TrialStarted
from search.system.interruption import Interruption


@pytest.fixture
def line() -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = Pipe()
    yield ours, theirs
    ours.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_go_starts_the_work_and_stops_nothing(line: tuple[Connection, Connection]) -> None:
    interruption = Interruption()
    commands = Commands(line[1], interruption)
    waited = threading.Thread(target=commands.wait_for_go)
    waited.start()
    assert waited.is_alive()

    line[0].send("go")
    waited.join(60)

    assert not waited.is_alive()
    assert not commands.leaving
    interruption.check()


def test_leave_lets_the_running_trial_finish(line: tuple[Connection, Connection]) -> None:
    interruption = Interruption()
    commands = Commands(line[1], interruption)

    line[0].send("leave")
    eventually(lambda: commands.leaving)

    commands.wait_for_go()
    interruption.check()


def test_stop_asks_the_running_trial_to_stop(line: tuple[Connection, Connection]) -> None:
    interruption = Interruption()
    orphaned = threading.Event()
    commands = Commands(line[1], interruption, orphaned=orphaned.set)

    line[0].send("stop")
    eventually(lambda: interruption.requested)

    assert commands.leaving
    commands.wait_for_go()
    with pytest.raises(SearchInterrupted):
        interruption.check()
    # The supervisor is alive and makes sure that the worker ends.
    assert not orphaned.is_set()


@pytest.mark.parametrize("said", [[], ["go"], ["go", "leave"], ["stop"]])
def test_a_dead_supervisor_means_stop(line: tuple[Connection, Connection], said: list[str]) -> None:
    interruption, orphaned = Interruption(), threading.Event()
    commands = Commands(line[1], interruption, orphaned=orphaned.set)

    for command in said:
        line[0].send(command)
    line[0].close()

    assert orphaned.wait(60)
    assert interruption.requested
    assert commands.leaving
    commands.wait_for_go()


def test_events_arrive_as_they_were_sent(line: tuple[Connection, Connection]) -> None:
    progress = ChannelProgress(line[1])
    sent: list[Event] = [
        TrialStarted(number=3, summary="small", epochs=5),
        Note("a note"),
        TrialFinished(
            number=3,
            state="complete",
            value=0.5,
            reason=None,
            seconds=1.0,
            best_value=0.5,
            best_trial=3,
        ),
    ]
    for event in sent:
        progress.handle(event)

    assert [line[0].recv() for _ in sent] == sent


def test_the_supervisor_receives_the_log_position_of_each_trial(
    line: tuple[Connection, Connection], tmp_path: Path
) -> None:
    with (tmp_path / "worker.log").open("wb", buffering=0) as log:
        progress = ChannelProgress(line[1], log=log.fileno())
        log.write(b"words before")
        progress.handle(TrialStarted(number=0, summary="small", epochs=1))
        log.write(b"words of the trial")

    assert line[0].recv() == LogPosition(len("words before"))
    assert isinstance(line[0].recv(), TrialStarted)


def test_progress_events_are_rate_limited(line: tuple[Connection, Connection]) -> None:
    progress = ChannelProgress(line[1])
    for epoch in range(1000):
        progress.handle(TrialAdvanced(number=0, epoch=epoch, epochs=1000, metrics={}))
        progress.sign_of_life()
    progress.note("end")

    events = []
    while (event := line[0].recv()) != Note("end"):
        events.append(event)
    assert 1 <= len(events) < 100


def test_a_worker_continues_if_the_supervisor_is_gone(line: tuple[Connection, Connection]) -> None:
    progress = ChannelProgress(line[1])
    line[0].close()

    progress.note("nobody hears")
    progress.send(Ready())


def test_messages_of_several_threads_are_not_interleaved(
    line: tuple[Connection, Connection],
) -> None:
    progress = ChannelProgress(line[1])

    def send(number: int) -> None:
        for _ in range(20):
            progress.note(str(number) * 5000)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    texts = [line[0].recv().text for _ in range(80)]
    for thread in threads:
        thread.join()

    assert sorted(texts) == sorted(str(n) * 5000 for n in range(4) for _ in range(20))
