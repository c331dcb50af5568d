"""Supervises worker processes on this machine: starts, replaces and stops them."""

import pickle
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

from search.engines.channel import Command
from search.engines.job import WorkerJob
from search.engines.messages import LogPosition, Message, Ready
from search.engines.pool import SECONDS_BETWEEN_LOOKS, PoolWorker, WorkerPool
from search.engines.recycling import is_spent, own_memory
from search.engines.worker import EXPLAINED
from search.engines.workers import WorkerLimits
from search.errors import SearchFailure
from search.progress.events import TrialFinished, TrialStarted
from search.sizing.worker_plan import WorkerPlan
from search.system.child_process import ChildProcess
from search.system.crash import Death
from search.trials.session import Session

# Deaths before the first trial that are tolerated per worker; more for SIGKILL, which comes from
# outside and may be temporary.
_MOST_FALSE_STARTS = 2
_MOST_KILLED_STARTS = 10


class _Worker(PoolWorker):
    """A worker process."""

    def __init__(
        self, job: WorkerJob, *, environment: Mapping[str, str], logs: Path, index: int
    ) -> None:
        super().__init__()
        self.index = index
        # Named uniquely: other searches of the same study write their logs to the same folder.
        log = logs / f"worker_{self.name[:8]}.log"
        self.child = ChildProcess("search.engines.worker", environment=environment, log=log)
        self.ready = self.working = self.leaving = self.spent = False
        self.trials = 0
        self.held_when_ready = 0
        self.log_start = 0
        self.child.send((job, self.name))

    def command(self, command: Command) -> None:
        self.working |= command == "go"
        self.leaving |= command != "go"
        self.heard = time.monotonic()
        self.child.send(command)

    def kill(self) -> None:
        self.child.kill()

    def close(self) -> None:
        self.child.close()

    def last_words(self) -> str:
        """Returns the last part of the log since the worker's last trial started."""
        return self.child.last_words(start=self.log_start)

    def memory(self) -> int:
        """Returns the bytes of unshared memory that the process holds now."""
        return own_memory(self.child.id)


class LocalPool(WorkerPool[_Worker]):
    """Keeps the planned number of workers running until no more trials are needed.

    `host_memory` is a worker's share of the machine's memory in bytes, even if it trains on a GPU.
    """

    def __init__(
        self,
        session: Session,
        job: WorkerJob,
        *,
        plan: WorkerPlan,
        limits: WorkerLimits,
        host_memory: int,
        logs: Path,
    ) -> None:
        super().__init__(session, job, limits=limits)
        self._plan = plan
        self._host_memory = host_memory
        self._logs = logs

    def _start_missing(self) -> None:
        staying = [worker for worker in self._workers if not worker.leaving]
        retiring = [worker for worker in staying if worker.spent]
        for _ in range(self._plan.workers - len(staying) + len(retiring)):
            taken = {worker.index for worker in staying if worker not in retiring}
            index = next(number for number in range(len(taken) + 1) if number not in taken)
            job = self._supervision.job_now()
            environment = self._plan.environment(index)
            try:
                worker = _Worker(job, environment=environment, logs=self._logs, index=index)
            except OSError as error:
                raise SearchFailure(
                    f"A worker needs a process of its own; the system refused: {error}. "
                    f"Fix: lower --workers, or use --workers 0."
                ) from error
            self._workers.append(worker)
            staying.append(worker)

    def _receive(self) -> None:
        connections = [worker.child.connection for worker in self._workers]
        for connection in wait(connections, timeout=SECONDS_BETWEEN_LOOKS):
            worker = next(w for w in self._workers if w.child.connection is connection)
            self._read(worker)

    def _read(self, worker: _Worker) -> None:
        while True:
            try:
                if not worker.child.connection.poll():
                    return
                message: Message = worker.child.connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self._bury(worker)
                return
            worker.heard = time.monotonic()
            self._handle(worker, message)

    def _handle(self, worker: _Worker, message: Message) -> None:
        match message:
            case Ready():
                worker.ready = True
                worker.held_when_ready = worker.memory()
                self._put_to_work()
            case LogPosition(size):
                worker.log_start = size
            case TrialStarted():
                worker.has_begun = True
            case TrialFinished():
                worker.trials += 1
                worker.spent = worker.spent or is_spent(
                    self._limits,
                    trials=worker.trials,
                    holds=worker.memory(),
                    held_when_ready=worker.held_when_ready,
                    share=self._host_memory,
                )
        self._supervision.show(message)

    def _put_to_work(self) -> None:
        """Starts ready workers in free places, and asks spent workers to leave theirs.

        A place is an index of the plan, and so a share of one GPU.
        """
        for worker in self._workers:
            if not worker.ready or worker.working or worker.leaving:
                continue
            holders = [w for w in self._workers if w.working and w.index == worker.index]
            if not holders:
                worker.command("go")
            for holder in holders:
                if holder.spent and not holder.leaving:
                    holder.command("leave")

    def _bury(self, worker: _Worker) -> None:
        """Diagnoses how a worker died, and ends its trial."""
        self._workers.remove(worker)
        death = worker.child.diagnose(start=worker.log_start)
        held = self._supervision.end_trials(worker.name, death=death, stalled=worker.stalled)
        worker.close()
        if death.exit_code not in (0, EXPLAINED) and not held and not worker.has_begun:
            self._judge_start(worker, death)
        self._put_to_work()

    def _judge_start(self, worker: _Worker, death: Death) -> None:
        """Raises SearchFailure if worker after worker dies before its first trial."""
        most = _MOST_FALSE_STARTS * self._plan.workers + 1
        if death.signal == "SIGKILL" and not death.out_of_memory and not worker.stalled:
            self._supervision.note(
                "a worker was killed from outside while it was starting; starting another one"
            )
            most = _MOST_KILLED_STARTS * self._plan.workers
        self._supervision.count_false_start(
            f"{death.describe()}. The last worker's log, {worker.child.log}, ends with: "
            f"{worker.last_words()[-500:] or '(nothing)'}",
            most=most,
        )

    def _look_after(self, worker: _Worker, *, silent: float) -> None:
        # A worker's own child processes may outlive it and keep the connection open.
        if worker.child.has_ended:
            self._read(worker)
            if worker in self._workers:
                self._bury(worker)
            return
        worker.child.watch.sample()
        busy = not worker.ready or worker.working
        # A message that has arrived meanwhile counts: it is read later.
        if busy and silent > self._limits.stall_seconds and not worker.child.connection.poll():
            self._end_stalled(worker)
        self._put_to_work()
