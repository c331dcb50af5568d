"""Rounds in which a training fails: they are skipped, and the processes stay alive."""

import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search import training
from search.errors import NonFiniteLossError
from search.sizing import timing_program, worker_speed
from search.sizing.machine import Machine
from search.sizing.messages import Failed, Loaded, Round, Task
from search.sizing.timing_program import _Ended, _load, _Stopwatch, _train
from search.sizing.worker_speed import Measured, measure_workers
from search.system.runtime import Compute
from spaces.candidate import Candidate, Compilation, TrainingConfig
from spaces.stages import staged

SPEC = InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"))
MODEL = ModelConfig(
    backbone=staged(
        Plain(normalization="none"),
        filters=[2],
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.0],
    ),
    head=Pooled(),
)

Answer = Callable[[Round], tuple[Any, Any]]


class Process:
    """Answers a round and "go" with given values; fails if the parent does not end a round."""

    def __init__(self, answer: Answer, on_gpu: bool) -> None:
        self.connection = SimpleNamespace(poll=lambda seconds: True)
        self._answer = answer
        self._answers: list[Any] = [Loaded(on_gpu=on_gpu, process_memory=1, training_memory=1)]
        self._speed: Any = None
        self._round: Round | None = None

    def send(self, message: object) -> None:
        if isinstance(message, Round):
            assert self._round is None, "a round before the last one's end"
            self._round = message
            warm, self._speed = self._answer(message)
            self._answers.append(warm)
        elif message == "go":
            self._answers.append(self._speed)
        else:
            assert message == "stop" and not self._answers
            self._round = None

    def receive(self) -> Any:
        return self._answers.pop(0)

    def busy_seconds(self) -> float:
        return 0.0

    def end(self) -> None:
        pass


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Measured]:
    def run(*answers: Answer, on_gpu: bool = False) -> Measured:
        """Measures with one process per answer, for two numbers of workers."""
        processes = iter(answers)
        monkeypatch.setattr(
            worker_speed, "MeasuringProcess", lambda *arguments: Process(next(processes), on_gpu)
        )
        return measure_workers(
            Candidate(model=MODEL, training=TrainingConfig()),
            SPEC,
            machine=Machine(1 if len(answers) == 1 else 2, (), 10**9, None),
            compute=Compute(precision="auto" if on_gpu else "float32", xla="off"),
            backend="tensorflow",
            environment=lambda setting, index: {},
        )

    return run


def steady(measured: Round) -> tuple[Any, Any]:
    return "warm", 100.0


def failing(measured: Round) -> tuple[Any, Any]:
    return Failed("the loss became nan"), None


@pytest.mark.parametrize("late", [False, True], ids=["before it is warm", "in the window"])
def test_a_precision_in_which_the_training_fails_is_passed_over(
    late: bool, measure: Callable[..., Measured]
) -> None:
    def answer(measured: Round) -> tuple[Any, Any]:
        if measured.compute.precision != "bfloat16":
            return "warm", 100.0
        failed = Failed("the loss became nan")
        return ("warm", failed) if late else (failed, None)

    found = measure(answer, on_gpu=True)

    assert [one.setting.precision for one in found.measurements] == ["float32", "float16"]
    assert found.problem is None


def test_a_training_that_always_fails_says_why(measure: Callable[..., Measured]) -> None:
    found = measure(failing)

    assert found.measurements == ()
    assert found.problem == "the training failed: the loss became nan"


def test_one_of_two_workers_that_fails_leaves_the_single_one(
    measure: Callable[..., Measured],
) -> None:
    found = measure(steady, steady, failing)

    assert [one.setting.workers for one in found.measurements] == [1]
    assert found.problem is None


@pytest.mark.parametrize("told", [False, True], ids=["without a figure", "after its figure"])
def test_a_training_that_fails_answers_and_waits_for_the_rounds_end(
    told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Pipe()

    def fit(*arguments: Any, listener: Any, **options: Any) -> None:
        listener.told = told
        raise NonFiniteLossError("the loss became nan")

    monkeypatch.setattr(training, "fit", fit)
    ours.send("stop")
    ours.send("the next round")

    _train(
        theirs,
        Round(Compute(precision="float16", xla="off"), 1.0),
        SimpleNamespace(candidate=None, images=[], spec=None, features=None),  # type: ignore[arg-type]
    )

    assert theirs.recv() == "the next round"
    answers = [ours.recv()] if ours.poll() else []
    assert answers == ([] if told else [Failed("the loss became nan")])


def test_a_training_ends_where_another_one_failed_before_it_was_warm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = Pipe()
    monkeypatch.setattr(timing_program, "_WARM_UP_SECONDS", 0.0)
    stopwatch = _Stopwatch(theirs, 1.0, 16)
    stopwatch.on_progress(0.1, 1000, {})

    ours.send("stop")
    with pytest.raises(_Ended):
        stopwatch.on_progress(0.2, 1000, {})

    assert ours.recv() == "warm" and not ours.poll()


def test_no_rate_lets_random_labels_end_the_measurement(tmp_path: Path) -> None:
    candidate = Candidate(model=MODEL, training=TrainingConfig(learning_rate=1e30))

    loaded = _load(Task(candidate.to_json(), SPEC.model_dump_json(), (), tmp_path))

    assert loaded.candidate.training.learning_rate < 1e-4


@pytest.mark.slow
def test_a_real_process_outlives_its_trainings_failures() -> None:
    optimizer: dict[str, Any] = {
        "module": "keras.optimizers",
        "class_name": "SGD",
        "config": {"learning_rate": 1e30},
        "registered_name": None,
    }
    compilation = Compilation(optimizer=optimizer, loss="categorical_crossentropy")

    found = measure_workers(
        Candidate(model=MODEL, training=TrainingConfig(batch_size=16, compilation=compilation)),
        SPEC,
        machine=Machine(1, (), 10**9, None),
        compute=Compute(precision="auto", xla="off"),
        backend="tensorflow",
        environment=lambda setting, index: {},
    )

    assert found.measurements == ()
    assert found.problem is not None
    assert found.problem.startswith("the training failed: the loss became")


@pytest.mark.slow
def test_another_process_can_say_where_keras_computes() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", worker_speed._DEVICE], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() in ("cpu", "gpu")
