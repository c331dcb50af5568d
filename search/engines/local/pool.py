"""Worker processes on this machine: kept running, replaced when they die, ended in order."""

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

# So many deaths before the first trial are borne for each worker; more of those by SIGKILL, which
# comes from elsewhere and may pass.
_MOST_FALSE_STARTS = 2
_MOST_KILLED_STARTS = 10


class _Worker(PoolWorker):
    """A worker process."""

    def __init__(
        self, job: WorkerJob, *, environment: Mapping[str, str], logs: Path, index: int
    ) -> None:
        super().__init__()
        self.index = index
        # Another search of the same study keeps its workers' logs in the same folder.
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
        """Returns the end of what the process wrote to its log since its last trial began."""
        return self.child.last_words(start=self.log_start)

    def memory(self) -> int:
        """Returns the bytes that the process holds now."""
        return own_memory(self.child.id)


class LocalPool(WorkerPool[_Worker]):
    """Keeps as many workers running as the plan says, until no trial is wanted any more.

    `host_memory` is a worker's share of the machine's memory in bytes, also where it trains on a
    GPU.
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
                    f"Lower --workers, or use --workers 0."
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
        """Lets ready workers take their places, which spent ones are to leave.

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
        """Finds out how a worker ended, and what becomes of its trial."""
        self._workers.remove(worker)
        death = worker.child.diagnose(start=worker.log_start)
        held = self._supervision.end_trials(worker.name, death=death, stalled=worker.stalled)
        worker.close()
        if death.exit_code not in (0, EXPLAINED) and not held and not worker.has_begun:
            self._judge_start(worker, death)
        self._put_to_work()

    def _judge_start(self, worker: _Worker, death: Death) -> None:
        """Gives up when one worker after another dies before it has a candidate to blame."""
        most = _MOST_FALSE_STARTS * self._plan.workers + 1
        if death.signal == "SIGKILL" and not death.out_of_memory and not worker.stalled:
            self._supervision.note(
                "a worker was killed from outside while it started; another one starts"
            )
            most = _MOST_KILLED_STARTS * self._plan.workers
        self._supervision.count_false_start(
            f"{death.describe()}. The last one's log, {worker.child.log}, ends with: "
            f"{worker.last_words()[-500:] or '(nothing)'}",
            most=most,
        )

    def _look_after(self, worker: _Worker, *, silent: float) -> None:
        # What a worker started may outlive it, and keeps the connection open.
        if worker.child.has_ended:
            self._read(worker)
            if worker in self._workers:
                self._bury(worker)
            return
        worker.child.watch.sample()
        busy = not worker.ready or worker.working
        # What has come meanwhile is read later.
        if busy and silent > self._limits.stall_seconds and not worker.child.connection.poll():
            self._end_stalled(worker)
        self._put_to_work()
