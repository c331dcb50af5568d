"""Real runs of a study in separate processes, which a test may kill, suspend and starve."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from cnn_blocks.errors import UserError
from search.optimize.winner import best_configuration
from search.storage import TrialAttribute, open_storage, quiet_optuna
from search.trials.lease import lease_of
from search.trials.outcomes import Outcome, outcome_of

REPOSITORY = Path(__file__).resolve().parents[2]
# CI machines are slow, and several tests may share one.
PATIENCE = 300.0

# Prints every event that a test waits for, and exits as the command does.
PROGRAM = """
import json, sys
from search.engines.workers import LocalWorkers, WorkerLimits
from search.optimize.budget import Budget
from search.pipeline import run_study
from search.progress import events
from search.storage.places import Places
from search.system.runtime import Compute

class Lines(events.Progress):
    shown = set()
    def handle(self, event):
        match event:
            case events.Note(text, is_warning):
                self.say("warning:" if is_warning else "note:", text)
            case events.TrialStarted(number=number):
                self.say("trial", number, "started")
            case events.TrialAdvanced(number=number, epoch=epoch):
                if number not in self.shown:
                    self.say("trial", number, "first seen at epoch", epoch)
                self.shown.add(number)
            case events.TrialFinished(number=number, state=state, reason=reason):
                self.say("trial", number, state, reason)
            case events.RetrainingStarted():
                self.say("retraining")
            case events.RetrainingAdvanced(epoch=epoch):
                self.say("retrained", epoch)

    def say(self, *words):
        print(*words, flush=True)

options = json.loads(sys.argv[1])

def take(kind, *names):
    return kind(**{name: options.pop(name) for name in names if name in options})

limits = WorkerLimits(**options.pop("limits"))
try:
    result = run_study(
        budget=take(Budget, "trials", "retrain", "retraining_epochs"),
        places=take(Places, "runs_directory", "artifacts"),
        compute=take(Compute, "precision", "xla"),
        workers=LocalWorkers(number=options.pop("workers", 0), limits=limits),
        progress=Lines(),
        **options,
    )
except KeyboardInterrupt:
    sys.exit(130)
print("winner", result.configuration.value, flush=True)
"""


STUDY = '''
"""Small networks, which train for some seconds."""
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from studies.study import StudySpec


def space(trial):
    backbone = staged(
        Plain(), filters=[trial.suggest_int("filters", 4, 32)], depth=1, reduction="max",
        place="first", dropout=[0.0],
    )
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=BATCH, optimizer="adam", learning_rate=rate),
    )


study = StudySpec(
    name="faults", description="Filters.", space=space, data="digits", trials=4, epochs=EPOCHS,
    first_rung=EPOCHS, reports_per_epoch=1, retrain_epochs=2, workers=0,
)
'''


class Run:
    """A running `run_study`, which leads a process group of its own."""

    def __init__(self, options: dict[str, Any], *, log: Path) -> None:
        self.log = log
        self._start = log.stat().st_size if log.exists() else 0
        options = {"limits": {}, **options}
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(options, default=str)],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def said(self) -> str:
        """Returns what this run has printed so far."""
        return self.log.read_bytes()[self._start :].decode(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """Returns its worker processes that are alive, oldest first."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if is_worker(child)]
        except psutil.NoSuchProcess:
            return []

    def wait_until(
        self, condition: Callable[[], Any], *, patience: float = PATIENCE, every: float = 0.1
    ) -> None:
        """Waits for a condition; fails the test if the run ends or `patience` seconds pass."""
        deadline = time.monotonic() + patience
        while not condition():
            code = self.process.poll()
            assert code is None, f"ended with {code}: {self.said()[-3000:]}"
            assert time.monotonic() < deadline, f"waited in vain: {self.said()[-3000:]}"
            time.sleep(every)

    def ends(self, *, patience: float = PATIENCE) -> int:
        """Waits for the end of the run and returns its exit code."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill_group()
            raise AssertionError(f"did not end: {self.said()[-3000:]}") from None

    def succeeds(self, *, patience: float = PATIENCE) -> None:
        """Waits for the end of the run, which must succeed."""
        code = self.ends(patience=patience)
        assert code == 0, self.said()[-3000:]

    def kill(self) -> None:
        """Kills only the supervisor."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """Kills the supervisor and all of its workers at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def is_worker(process: psutil.Process) -> bool:
    """Returns whether a process is a worker and alive."""
    try:
        at_work = process.status() != psutil.STATUS_ZOMBIE
        return at_work and "search.engines.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


class Place:
    """The folder of a test: a study's file, its database, its runs.

    `storage` is the URL of a storage behind a server; by default it is an SQLite file.
    """

    def __init__(
        self, folder: Path, study: str, *, name: str = "faults", storage: str | None = None
    ) -> None:
        self.folder = folder
        self.name = name
        self.database = folder / "studies.db"
        self.file = folder / "study.py"
        self.file.write_text(study)
        self.runs = folder / "runs"
        self._study: optuna.Study | None = None
        self.options: dict[str, Any] = {
            "study": self.file,
            "storage": storage or f"sqlite:///{self.database}",
            "runs_directory": self.runs,
            "precision": "float32",
            "xla": "off",
        }

    def start(self, **options: Any) -> Run:
        """Starts the study's command."""
        return Run({**self.options, **options}, log=self.folder / "run.log")

    def study(self) -> optuna.Study:
        """Returns the stored study; it is opened once, because tests ask for it repeatedly."""
        if self._study is None:
            with quiet_optuna():
                storage = open_storage(self.options["storage"])
                self._study = optuna.load_study(study_name=self.name, storage=storage)
        return self._study

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials; an empty list before the study is stored."""
        if self.options["storage"].startswith("sqlite") and not self.database.exists():
            return []
        try:
            return self.study().get_trials(deepcopy=False)
        except (KeyError, UserError, optuna.exceptions.StorageInternalError):
            return []

    def running(self, *, trained: float = 0.0) -> list[FrozenTrial]:
        """Returns the running trials that a worker holds and has trained for `trained` epochs."""
        return [
            trial
            for trial in self.trials()
            if trial.state is TrialState.RUNNING
            and lease_of(trial)
            and trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0) >= trained
        ]

    def checked(self, total: int) -> list[FrozenTrial]:
        """Checks what must hold for every finished study, and returns its trials.

        All trials have finished, the total is exact, each trial that was cut short has exactly one
        continuation that was not superseded, and an SQLite file passes its integrity check.
        """
        trials = self.trials()
        unfinished = [trial.number for trial in trials if not trial.state.is_finished()]
        assert unfinished == []
        counted = [trial for trial in trials if outcome_of(trial).counts]
        assert len(counted) == total
        for trial in trials:
            if not outcome_of(trial).counts and not gave_way(trial):
                later = [
                    other
                    for other in trials
                    if other.user_attrs.get(TrialAttribute.CONTINUES) == trial.number
                    and not gave_way(other)
                ]
                assert len(later) == 1, (trial.number, [other.number for other in later])
        if self.database.exists():
            connection = sqlite3.connect(self.database)
            try:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            finally:
                connection.close()
        return trials

    def finished(self) -> list[Path]:
        """Returns the folders of the finished retrainings, oldest first."""
        return sorted(path.parent for path in (self.runs / self.name).glob("*/metrics.json"))

    def best(self) -> float:
        """Returns the best value; checks that the winner and the last retraining record it."""
        complete = with_outcome(self.trials(), Outcome.COMPLETE)
        best = max(trial.value for trial in complete if trial.value is not None)
        assert best_configuration(self.study()).value == best
        record = json.loads((self.finished()[-1] / "metrics.json").read_text())
        assert record["search"]["value"] == best
        return best


def gave_way(trial: FrozenTrial) -> bool:
    """Returns whether a trial was superseded: another one does the same, or there are enough."""
    reason = trial.user_attrs.get(TrialAttribute.REASON, "")
    return trial.state is TrialState.FAIL and (
        reason == "the total was reached"
        or reason.endswith(("continues the same", "finished after all"))
    )


def repeats(trial: FrozenTrial) -> bool:
    """Returns whether a trial reused the result of an earlier one with the same candidate."""
    reason: str = trial.user_attrs.get(TrialAttribute.REASON, "")
    return reason.startswith("same candidate")


def held_by(trials: list[FrozenTrial]) -> set[str]:
    """Returns the names of the workers that held trials."""
    leases = [lease_of(trial) for trial in trials]
    return {lease["worker"] for lease in leases if lease}


def at_a_trial(place: Place, run: Run) -> list[psutil.Process]:
    """Returns the workers of a run that are running a trial."""
    holders = {lease_of(trial)["process"] for trial in place.running()}
    return [worker for worker in run.workers() if worker.pid in holders]


def kill(process: psutil.Process) -> bool:
    """Kills a worker and waits for its end; returns whether it was alive."""
    try:
        alive = is_worker(process)
        process.kill()
        # A process that was killed may look alive for a moment.
        process.wait(PATIENCE)
        return alive
    except psutil.NoSuchProcess:
        return False


def with_outcome(trials: list[FrozenTrial], outcome: Outcome) -> list[FrozenTrial]:
    """Returns the trials with an outcome."""
    return [trial for trial in trials if outcome_of(trial) is outcome]


@contextmanager
def places(folder: Path) -> Iterator[Callable[..., Place]]:
    """Yields a function that creates a `Place`; kills the remaining processes of its runs."""
    started: list[Run] = []

    class Watched(Place):
        def start(self, **options: Any) -> Run:
            run = super().start(**options)
            started.append(run)
            return run

    def make(
        *, epochs: int = 20, batch: int = 32, study: str = STUDY, storage: str | None = None
    ) -> Place:
        text = study.replace("EPOCHS", str(epochs)).replace("BATCH", str(batch))
        return Watched(folder, text, storage=storage)

    try:
        yield make
    finally:
        groups = {run.process.pid for run in started}
        for run in started:
            run.kill_group()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if is_worker(process) and os.getpgid(process.pid) in groups:
                    process.kill()
