"""A worker: runs trials of a study until no more are needed, or until it is told to leave.

The supervisor starts it as `python -m search.engines.worker FILE_DESCRIPTOR`.
"""

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import optuna

from cnn_blocks.errors import UserError
from search.engines.channel import ChannelProgress, Commands
from search.engines.job import WorkerJob
from search.engines.messages import CannotWork, Ready, TimeSpent
from search.progress.clock import Activity, Clock
from search.progress.events import Progress
from search.storage.connections import one_line
from search.system.interruption import Interruption
from search.system.streams import escape_unencodable

if TYPE_CHECKING:
    from search.data import Split

# The exit code of a worker that has sent CannotWork.
EXPLAINED = 3
_ORPHANED = 4
# How long the running trial may take to reach a point where it can stop.
SECONDS_TO_STOP = 60.0
_SECONDS_BETWEEN_SIGNS = 10.0


def main(descriptor: int) -> int:
    """Runs the job that arrives over the connection; returns the exit code."""
    # Ctrl-C reaches the whole process group, but only the supervisor decides what it means. SIGINT
    # has been blocked since the process started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    escape_unencodable()
    connection = Connection(descriptor)
    job: WorkerJob
    worker: str
    job, worker = connection.recv()
    return work(connection, job, worker, orphaned=_end_later, log=sys.stderr.fileno())


def work(
    connection: Connection,
    job: WorkerJob,
    worker: str,
    *,
    split: "Split | None" = None,
    leaving: Callable[[], bool] = lambda: False,
    orphaned: Callable[[], object] = lambda: None,
    log: int | None = None,
) -> int:
    """Runs a worker with its supervisor at the other end of `connection`; returns the exit code.

    `log` is the file descriptor of this worker's own log, if it has one.
    """
    progress, clock = ChannelProgress(connection, log=log), _ReportedClock()
    with Interruption(signals=(signal.SIGTERM,)) as interruption, interruption.deferred():
        commands = Commands(connection, interruption, orphaned=orphaned)

        def wait_for_go() -> None:
            progress.send(Ready())
            commands.wait_for_go()

        try:
            run_worker(
                job,
                split=split,
                worker=worker,
                progress=progress,
                clock=clock,
                interruption=interruption,
                leaving=lambda: commands.leaving or leaving(),
                before_work=wait_for_go,
                sign_of_life=progress.sign_of_life,
                after_trial=lambda: progress.send(TimeSpent(clock.take())),
            )
        except KeyboardInterrupt:
            pass
        except UserError as error:
            progress.send(CannotWork(str(error), is_user_error=True))
            return EXPLAINED
        except optuna.exceptions.StorageInternalError as error:
            text = (
                f"The storage stopped working: {one_line(error.__cause__ or error)}. Fix: repair "
                f"the storage, then run the same command to resume."
            )
            progress.send(CannotWork(text, is_user_error=False))
            return EXPLAINED
        finally:
            progress.send(TimeSpent(clock.take()))
    return 0


def run_worker(
    job: WorkerJob,
    *,
    split: "Split | None" = None,
    worker: str | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    interruption: Interruption | None = None,
    leaving: Callable[[], bool] = lambda: False,
    before_work: Callable[[], object] = lambda: None,
    sign_of_life: Callable[[], None] = lambda: None,
    after_trial: Callable[[], None] = lambda: None,
) -> None:
    """Runs trials of a job's study until no more are needed; all engines' workers run this.

    With `split` the images are not loaded again. `before_work` is called once everything is loaded.
    Raises KeyboardInterrupt if an interruption was requested, and UserError if the study cannot be
    imported here.
    """
    from search.optimize.loop import run_trials
    from search.optimize.opening import open_session
    from search.storage import open_storage, quiet_optuna
    from search.storage.retrying import PATIENCE_SECONDS
    from search.trials.search_time import SearchTime

    interruption = interruption or Interruption()

    def check() -> None:
        sign_of_life()
        interruption.check()

    time_left = SearchTime(job.search_seconds, job.spent_seconds)
    with quiet_optuna():
        with _repeated(sign_of_life):
            session = open_session(
                job.experiment,
                open_storage(job.experiment.url, patience_seconds=PATIENCE_SECONDS),
                split=split,
                time=time_left,
                memory_bytes=job.memory_bytes,
                progress=progress,
                clock=clock,
                interruption=interruption,
                check=check,
            )
        before_work()
        run_trials(
            session,
            worker=worker or uuid.uuid4().hex,
            lease_seconds=job.lease_seconds,
            leaving=leaving,
            after_trial=after_trial,
        )


@contextmanager
def _repeated(sign_of_life: Callable[[], None]) -> Iterator[None]:
    """Sends heartbeats while the block runs, because it may take longer than the stall timeout."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(_SECONDS_BETWEEN_SIGNS):
            sign_of_life()

    thread = threading.Thread(target=repeat, name="sign of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _end_later() -> None:
    time.sleep(SECONDS_TO_STOP)
    os._exit(_ORPHANED)


class _ReportedClock(Clock):
    """A clock whose seconds are sent to the supervisor."""

    def take(self) -> dict[Activity, float]:
        """Returns the seconds since the last call."""
        taken = {name: spent for name, spent in self.seconds.items() if spent}
        self.seconds.clear()
        return taken


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the training framework's threads may take seconds to shut down.
    os._exit(code)
