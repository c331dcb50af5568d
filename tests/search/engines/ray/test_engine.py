"""Workers on a real Ray cluster: two nodes on this machine, with tiny real trainings."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute, open_storage, quiet_optuna
from search.trials.lease import lease_of
from search.trials.outcomes import Outcome, outcome_of
from tests.support.jobs import with_mishap
from tests.support.ray_cluster import ENVIRONMENT, LoopbackCluster, require_ray

pytestmark = pytest.mark.slow

PATIENCE = 240.0
_GIBIBYTE = 2**30
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
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=32, optimizer="adam"),
    )


study = StudySpec(
    name="on_ray", description="Filters.", space=space, data="digits", trials=4, epochs=EPOCHS,
    first_rung=EPOCHS, reports_per_epoch=1, retrain_epochs=1,
)
'''


class Run:
    """A run of the command in a folder of its own."""

    def __init__(self, folder: Path, *, epochs: int, study: str = STUDY) -> None:
        self.folder = folder
        self.file = folder / "study.py"
        self.file.write_text(study.replace("EPOCHS", str(epochs)))
        self._log = folder / "run.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: object) -> None:
        """Starts `search.run` with the engine; paths are relative to the folder."""
        command = [sys.executable, "-m", "search.run", "--study", self.file, "--engine", "ray"]
        command += ["--storage", "sqlite:///studies.db", "--precision", "float32", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.folder,
                env={**os.environ, **ENVIRONMENT, "CNN_SEARCH_CACHE": str(self.folder / "cache")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def said(self) -> str:
        return self._log.read_text()

    def ends(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end: {self.said()[-3000:]}") from None

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def trials(self) -> list[FrozenTrial]:
        url = f"sqlite:///{self.folder / 'studies.db'}"
        try:
            with quiet_optuna():
                study = optuna.load_study(study_name="on_ray", storage=open_storage(url))
                return study.get_trials(deepcopy=False)
        except (KeyError, optuna.exceptions.StorageInternalError):
            return []

    def training(self, *, epochs: float) -> list[FrozenTrial]:
        """Returns the running trials that have trained for at least `epochs`."""
        return [
            trial
            for trial in self.trials()
            if trial.state is TrialState.RUNNING
            and trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0) >= epochs
        ]

    def wait_until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.said()[-3000:]
            assert time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    require_ray()
    cluster = LoopbackCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.add_node()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(**options: Any) -> Run:
        made.append(Run(tmp_path, **options))
        return made[-1]

    try:
        yield make
    finally:
        for run in made:
            run.kill()


def lease(trial: FrozenTrial) -> dict[str, Any]:
    held = lease_of(trial)
    assert held
    return held


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    assert all(trial.state.is_finished() for trial in trials)
    return [trial for trial in trials if outcome_of(trial).counts]


def check_continued(trials: list[FrozenTrial], dead: FrozenTrial, *, epochs: int) -> None:
    """Checks that a later trial continued the dead one: it has the same earlier reports."""
    (later,) = [
        trial for trial in trials if trial.user_attrs.get(TrialAttribute.CONTINUES) == dead.number
    ]
    assert later.state is TrialState.COMPLETE
    assert later.params == dead.params
    assert sorted(later.intermediate_values) == list(range(1, epochs + 1))
    before = trials[dead.number].intermediate_values
    assert before
    assert {step: later.intermediate_values[step] for step in before} == before


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--address", "127.0.0.1:9"], "none at '127.0.0.1:9'"),
        (["--address", "nowhere"], "none at 'nowhere': it is not HOST:PORT"),
        ([], "none on this machine"),
    ],
)
def test_a_missing_cluster_is_reported_at_once(
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    problem: str,
) -> None:
    require_ray()
    if any(process.name() == "gcs_server" for process in psutil.process_iter()):
        pytest.skip("a Ray cluster runs on this machine, and would be found")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run = make_run(epochs=2)
    run.start(*options)

    assert run.ends() == 2, run.said()
    assert problem in run.said()
    assert "ray start --head" in run.said()
    assert "Traceback" not in run.said()
    assert not run.trials()


def test_ray_client_is_refused(make_run: Callable[..., Run]) -> None:
    require_ray()
    run = make_run(epochs=2)
    run.start("--address", "ray://127.0.0.1:10001")

    assert run.ends() == 2, run.said()
    assert "not through Ray Client" in run.said()
    assert "ray job submit" in run.said()


def test_a_study_completes_on_two_nodes(
    cluster: LoopbackCluster, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=5)
    run.start("--address", cluster.address, "--workers", "auto", "--trials", 4)

    assert run.ends() == 0, run.said()
    trials = run.trials()
    assert len(trials) == 4
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({lease(trial)["process"] for trial in trials}) == 2
    assert len({lease(trial)["worker"] for trial in trials}) == 2
    assert list((run.folder / "runs" / "on_ray").glob("*/model.keras"))
    said = run.said()
    assert said.count("Ray's object store shares the images") == 1
    for number in range(4):
        assert f"trial {number} started" in said
        assert f"trial {number} complete" in said


def test_a_dead_worker_is_replaced_and_its_trial_continued(
    cluster: LoopbackCluster, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=60)
    run.start("--address", cluster.address, "--workers", 1, "--trials", 1, "--no-retrain")
    run.wait_until(lambda: run.training(epochs=3))
    (victim,) = run.training(epochs=3)
    # As on another machine, the replacement has no file to read the study from.
    run.file.unlink()
    os.kill(lease(victim)["process"], signal.SIGKILL)

    assert run.ends() == 0, run.said()
    trials = run.trials()
    assert len(counted(trials)) == 1
    stored = trials[victim.number].user_attrs
    assert outcome_of(trials[victim.number]) is Outcome.CRASHED
    assert stored[TrialAttribute.REASON].startswith("its Ray worker at 127.0.0.1 died, after ")
    # Ray reports no exit codes, and SIGKILL leaves nothing in the log.
    assert TrialAttribute.SIGNAL not in stored
    assert stored[TrialAttribute.PEAK_MEMORY_MIB] > 100
    check_continued(trials, victim, epochs=60)


def test_a_crashed_worker_is_diagnosed_on_its_node(
    cluster: LoopbackCluster, make_run: Callable[..., Run]
) -> None:
    crash = "__import__('ctypes').string_at(0)"
    run = make_run(epochs=3, study=with_mishap(STUDY, crash))
    run.start("--address", cluster.address, "--workers", 1, "--trials", 2, "--no-retrain")

    assert run.ends() == 0, run.said()
    trials = run.trials()
    assert len(counted(trials)) == 2
    (dead,) = [trial for trial in trials if outcome_of(trial) is Outcome.CRASHED]
    stored = dead.user_attrs
    assert stored[TrialAttribute.SIGNAL] == "SIGSEGV"
    assert TrialAttribute.EXIT_CODE not in stored
    peak = stored[TrialAttribute.PEAK_MEMORY_MIB]
    assert peak > 100
    died = f"its Ray worker at 127.0.0.1 died: killed by SIGSEGV, peak memory {peak} MiB, after 0"
    assert stored[TrialAttribute.REASON].startswith(died)


def test_a_candidate_that_exhausts_a_nodes_memory_is_infeasible(
    tmp_path: Path, make_run: Callable[..., Run]
) -> None:
    require_ray()
    memory = psutil.virtual_memory()
    room = 4 * _GIBIBYTE
    threshold = (memory.total - memory.available + room) / memory.total
    if threshold > 0.9:
        pytest.skip("this machine has no 4 GiB of memory to spare")
    cluster = LoopbackCluster(
        tmp_path,
        environment={
            "RAY_memory_usage_threshold": f"{threshold:.3f}",
            "RAY_memory_monitor_refresh_ms": "100",
        },
    )
    try:
        # Grow slowly: Ray checks at intervals, and must act before the kernel does.
        piece, pieces = 2**26, 2 * room // 2**26
        grow = f"held = [time.sleep(0.1) or b'x' * {piece} for _ in range({pieces})]"
        run = make_run(epochs=3, study=with_mishap(STUDY, grow))
        run.start("--address", cluster.address, "--workers", 1, "--trials", 3, "--no-retrain")

        assert run.ends() == 0, run.said()
    finally:
        cluster.close()
    trials = run.trials()
    assert len(trials) == 3
    (dead,) = [trial for trial in trials if outcome_of(trial) is Outcome.INFEASIBLE]
    assert dead.number == 1
    stored = dead.user_attrs
    assert stored[TrialAttribute.CONSTRAINTS] == {"memory": 1.0}
    assert stored[TrialAttribute.SIGNAL] == "SIGKILL"
    reason = (
        "Ray killed its worker at 127.0.0.1, because the node ran out of memory, after 0 epochs"
    )
    assert stored[TrialAttribute.REASON] == reason


def test_a_hanging_worker_is_killed_and_its_trial_retried(
    cluster: LoopbackCluster, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=3, study=with_mishap(STUDY, "time.sleep(3600)"))
    options = ("--workers", 1, "--trials", 2, "--no-retrain", "--stall-timeout", "45s")
    run.start("--address", cluster.address, *options)

    assert run.ends() == 0, run.said()
    trials = run.trials()
    assert (run.folder / "happened").exists()
    assert len(counted(trials)) == 2
    (hung,) = [trial for trial in trials if outcome_of(trial) is Outcome.CRASHED]
    assert hung.number == 1
    reason = hung.user_attrs[TrialAttribute.REASON]
    assert reason == "no sign of life for 45 s, so it was killed, after 0 epochs"


def test_ctrl_c_stops_cleanly_and_the_same_command_resumes(
    cluster: LoopbackCluster, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=60)
    options = ("--address", cluster.address, "--workers", 2, "--trials", 2, "--no-retrain")
    run.start(*options)
    run.wait_until(lambda: len(run.training(epochs=1)) == 2)
    workers = [psutil.Process(lease(trial)["process"]) for trial in run.training(epochs=1)]
    run.process.send_signal(signal.SIGINT)

    assert run.ends() == 130, run.said()
    assert "Traceback" not in run.said()
    psutil.wait_procs(workers, timeout=30)
    assert not any(worker.is_running() for worker in workers)
    interrupted = [trial for trial in run.trials() if trial.state.is_finished()]
    assert [outcome_of(trial) for trial in interrupted] == [Outcome.INTERRUPTED] * 2

    run.start(*options)
    assert run.ends() == 0, run.said()
    trials = run.trials()
    assert len(counted(trials)) == 2
    for trial in interrupted:
        check_continued(trials, trial, epochs=60)


def test_a_node_killed_during_a_trial_loses_no_trial(
    tmp_path: Path, make_run: Callable[..., Run]
) -> None:
    require_ray()
    cluster = LoopbackCluster(tmp_path)
    try:
        lost = cluster.add_node()
        run = make_run(epochs=60)
        run.start("--address", cluster.address, "--workers", 2, "--trials", 3, "--no-retrain")
        run.wait_until(lambda: len(run.training(epochs=3)) == 2)
        held = {lease(trial)["process"]: trial for trial in run.training(epochs=3)}
        (victim,) = [held[process] for process in cluster.kill_node(lost) if process in held]

        assert run.ends() == 0, run.said()
    finally:
        cluster.close()
    trials = run.trials()
    assert len(counted(trials)) == 3
    crashed = [trial.number for trial in trials if outcome_of(trial) is Outcome.CRASHED]
    assert crashed == [victim.number]
    check_continued(trials, victim, epochs=60)


def test_an_sqlite_file_is_refused_for_several_machines(
    tmp_path: Path, make_run: Callable[..., Run]
) -> None:
    require_ray()
    cluster = LoopbackCluster(tmp_path)
    try:
        cluster.add_node(address="127.0.0.2")
        run = make_run(epochs=2)
        run.start("--address", cluster.address)

        assert run.ends() == 2, run.said()
    finally:
        cluster.close()
    assert "workers on 127.0.0.2 as well as 127.0.0.1" in run.said()
    assert "search.storage serve" in run.said()
    assert "Traceback" not in run.said()
    assert not run.trials()
