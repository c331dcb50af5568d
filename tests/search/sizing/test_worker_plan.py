"""The plan for workers: given, or measured and cached."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.progress.events import Event, Note, Progress
from search.sizing.cache import backend_name, measurement_key, read_measured, write_measured
from search.sizing.choice import Measurement, Setting
from search.sizing.machine import Machine, available_cores
from search.sizing.messages import Loaded
from search.sizing.worker_plan import WorkerPlan, plan_workers
from search.sizing.worker_speed import Measured, measure_workers, most_workers
from search.system.runtime import Compute, Precision, worker_environment
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged

FLOAT32 = Compute(precision="float32", xla="off")
GIBIBYTE = 2**30
on_cpu = pytest.mark.skipif(
    os.environ.get("CUDA_VISIBLE_DEVICES") is None and Path("/proc/driver/nvidia").exists(),
    reason="the plans expected are a CPU's",
)


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note):
            self.texts.append(event.text)


@pytest.fixture
def candidate() -> Candidate:
    backbone = staged(Plain(), filters=[2], depth=1, reduction="max", place="first", dropout=[0.0])
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=16, optimizer="adam"),
    )


@pytest.fixture
def spec() -> InputSpec:
    return InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"))


def measured(*speeds: float, loaded: Loaded | None = None) -> Measured:
    """One worker in two precisions, then two workers."""
    settings: list[tuple[int, int, Precision]]
    settings = [(1, 2, "float32"), (1, 2, "bfloat16"), (2, 1, "bfloat16")]
    return Measured(
        measurements=tuple(
            Measurement(
                setting=Setting(workers=workers, threads=threads, precision=precision, xla="off"),
                images_per_second=speed,
            )
            for (workers, threads, precision), speed in zip(settings, speeds, strict=False)
        ),
        loaded=loaded or Loaded(on_gpu=False, process_memory=1, training_memory=1),
        seconds=24.0,
        others_share=0.01,
    )


def keep(found: Measured, directory: Path, candidate: Candidate, spec: InputSpec) -> Path:
    """Caches a measurement as plan_workers does; returns the file."""
    key = measurement_key(
        candidate,
        spec,
        cores=available_cores(),
        gpus=(),
        compute=Compute(precision="auto", xla="auto"),
    )
    write_measured(directory / "workers", key, found)
    return next((directory / "workers").glob("*.json"))


@on_cpu
@pytest.mark.parametrize("workers", [1, 3, 500])
def test_a_number_is_taken_as_it_is(
    workers: int, candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    notes = Notes()
    plan = plan_workers(
        workers=workers,
        compute=Compute(precision="auto", xla="off"),
        candidate=candidate,
        spec=spec,
        cache_directory=tmp_path,
        progress=notes,
    )

    assert plan == WorkerPlan(workers, max(1, available_cores() // workers), Compute(xla="off"))
    assert not plan.measured and plan.images_per_second is None
    assert plan.describe().endswith("not measured")
    assert notes.texts == [] and list(tmp_path.iterdir()) == []


@on_cpu
def test_what_was_kept_is_not_measured_again(
    candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    keep(measured(2900, 3829, 7064), tmp_path, candidate, spec)
    notes = Notes()

    plan = plan_workers(
        workers="auto",
        compute=Compute(precision="auto", xla="auto"),
        candidate=candidate,
        spec=spec,
        cache_directory=tmp_path,
        progress=notes,
    )

    assert (plan.workers, plan.threads) == (2, 1)
    assert plan.compute == Compute(precision="bfloat16", xla="off")
    assert plan.measured and plan.images_per_second == 7064
    assert notes.texts == []
    assert plan.describe() == (
        "2 workers x 1 thread, bfloat16: 7,064 images/s (1 worker x 2 threads, float32: 2,900, "
        "1 worker x 2 threads: 3,829); measured earlier on this machine for this study"
    )


@on_cpu
def test_what_was_kept_is_held_against_the_memory_of_now(
    candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    huge = Loaded(on_gpu=False, process_memory=0, training_memory=10**15)
    keep(measured(2900, 3829, 7064, loaded=huge), tmp_path, candidate, spec)

    plan = plan_workers(
        workers="auto",
        compute=Compute(precision="auto", xla="auto"),
        candidate=candidate,
        spec=spec,
        cache_directory=tmp_path,
    )

    assert (plan.workers, plan.compute.precision, plan.images_per_second) == (1, "bfloat16", 3829)


def test_a_key_holds_what_a_measurement_depends_on(candidate: Candidate, spec: InputSpec) -> None:
    def key(
        candidate: Candidate = candidate,
        spec: InputSpec = spec,
        cores: int = 2,
        precision: Precision = "auto",
    ) -> dict[str, object]:
        return measurement_key(
            candidate, spec, cores=cores, gpus=(), compute=Compute(precision=precision, xla="auto")
        )

    larger = spec.model_copy(update={"image_shape": (9, 9, 3)})
    assert key() == key(spec=spec.model_copy(update={"channel_mean": (0.1, 0.2, 0.3)}))
    assert key() != key(candidate=candidate.with_training(batch_size=32))
    assert key() != key(spec=larger)
    assert key() != key(cores=4)
    assert key() != key(precision="float32")


@pytest.mark.parametrize("damage", ["", "{", '{"key": {}}', "[]", "\0\xff"])
def test_a_damaged_file_counts_as_none(
    damage: str, candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    path = keep(measured(1.0), tmp_path, candidate, spec)
    key = measurement_key(
        candidate,
        spec,
        cores=available_cores(),
        gpus=(),
        compute=Compute(precision="auto", xla="auto"),
    )
    assert read_measured(path.parent, key) == measured(1.0)

    path.write_text(damage)
    assert read_measured(path.parent, key) is None
    path.unlink()
    assert read_measured(path.parent, key) is None


def test_a_measurement_without_figures_counts_as_none(
    candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    keep(measured(), tmp_path, candidate, spec)
    key = measurement_key(
        candidate,
        spec,
        cores=available_cores(),
        gpus=(),
        compute=Compute(precision="auto", xla="auto"),
    )

    assert read_measured(tmp_path / "workers", key) is None


def test_a_folder_that_cannot_be_written_is_no_error(
    candidate: Candidate, spec: InputSpec, tmp_path: Path
) -> None:
    (tmp_path / "workers").write_text("a file")

    write_measured(tmp_path / "workers", {}, measured(1.0))

    assert (tmp_path / "workers").read_text() == "a file"


def test_workers_take_the_gpus_in_turn_and_share_them() -> None:
    plan = WorkerPlan(
        4, 2, Compute(precision="bfloat16"), ("GPU-a", "GPU-b"), gpu_memory=10 * GIBIBYTE
    )

    environments = [plan.environment(index) for index in range(4)]

    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments] == ["GPU-a", "GPU-b"] * 2
    for environment in environments:
        assert environment["TF_NUM_INTRAOP_THREADS"] == "2"
        assert environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
        assert environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
        # Two workers per GPU, and a tenth stays unallocated.
        assert environment["CNN_SEARCH_GPU_MEMORY_MIB"] == str(int(10 * 1024 * 0.9 / 2))


def test_a_gpu_of_its_own_is_not_limited() -> None:
    environment = WorkerPlan(1, 8, FLOAT32, ("0",), GIBIBYTE).environment(0)

    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CNN_SEARCH_GPU_MEMORY_MIB" not in environment
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in environment


def test_on_a_cpu_only_threads_are_set() -> None:
    environment = WorkerPlan(2, 1, FLOAT32).environment(1)

    assert set(environment.values()) == {"1"}
    assert not any("GPU" in name or "CUDA" in name for name in environment)


@pytest.mark.parametrize(
    ("loaded", "machine", "most"),
    [
        (Loaded(False, GIBIBYTE, GIBIBYTE), Machine(8, (), 10 * GIBIBYTE, None), 4),
        (Loaded(False, GIBIBYTE, GIBIBYTE), Machine(8, (), GIBIBYTE, None), 1),
        # RAM limits the number of processes, besides GPU memory.
        (Loaded(True, GIBIBYTE, GIBIBYTE), Machine(8, ("0",), 3 * GIBIBYTE, 99 * GIBIBYTE), 2),
        (Loaded(True, GIBIBYTE, 9 * GIBIBYTE), Machine(8, ("0",), 99 * GIBIBYTE, 24 * GIBIBYTE), 2),
        (
            Loaded(True, GIBIBYTE, 9 * GIBIBYTE),
            Machine(8, ("0", "1"), 99 * GIBIBYTE, 24 * GIBIBYTE),
            4,
        ),
    ],
)
def test_never_more_workers_than_the_memory_holds(
    loaded: Loaded, machine: Machine, most: int
) -> None:
    assert most_workers(loaded, machine) == most


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are read from /proc")
@pytest.mark.skipif(backend_name() != "tensorflow", reason="looks at TensorFlow's threads")
def test_tensorflow_starts_so_many_threads() -> None:
    question = (
        "import os; from search.system.runtime import start_keras; start_keras(); "
        "import keras, numpy; "
        "keras.ops.convert_to_numpy(keras.ops.ones((9, 9)) @ keras.ops.ones((9, 9))); "
        "print(len(os.listdir('/proc/self/task')))"
    )

    def threads(count: int) -> int:
        environment = {**worker_environment(threads=count), "OMP_NUM_THREADS": "1"}
        answer = subprocess.run(
            [sys.executable, "-c", question],
            env={**os.environ, **environment},
            capture_output=True,
            check=True,
        )
        return int(answer.stdout)

    # Threads within an operation, and as many to run operations in parallel.
    assert threads(7) - threads(2) == 2 * 5


@on_cpu
def test_a_measuring_process_that_fails_ends_the_measurement(
    spec: InputSpec, candidate: Candidate, tmp_path: Path
) -> None:
    found = measure_workers(
        candidate,
        spec,
        machine=Machine(1, (), GIBIBYTE, None),
        compute=Compute(precision="auto", xla="auto"),
        backend="tensorflow",
        environment=lambda setting, index: {"KERAS_BACKEND": "no such backend"},
    )

    assert found.measurements == () and found.loaded is None
    assert found.problem is not None and "exited with code 1" in found.problem
    assert "no such backend" in found.problem


@on_cpu
def test_one_that_takes_too_long_ends_it_too(spec: InputSpec, candidate: Candidate) -> None:
    found = measure_workers(
        candidate,
        spec,
        machine=Machine(1, (), GIBIBYTE, None),
        compute=Compute(precision="float32", xla="off"),
        backend="tensorflow",
        environment=lambda setting, index: {},
        longest_seconds=0.2,
    )

    assert found.measurements == () and found.problem == "measuring took too long"


@on_cpu
def test_an_interruption_leaves_no_process(spec: InputSpec, candidate: Candidate) -> None:
    import psutil

    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_workers(
            candidate,
            spec,
            machine=Machine(1, (), GIBIBYTE, None),
            compute=Compute(precision="float32", xla="off"),
            backend="tensorflow",
            environment=lambda setting, index: {},
            check=check,
        )

    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not any("search.sizing.timing_program" in line for line in left)


@on_cpu
@pytest.mark.slow
def test_a_real_measurement_of_two_workers(
    spec: InputSpec, candidate: Candidate, tmp_path: Path
) -> None:
    threads: dict[Setting, set[str]] = {}

    def environment(setting: Setting, index: int) -> dict[str, str]:
        chosen = worker_environment(threads=setting.threads)
        threads.setdefault(setting, set()).add(chosen["TF_NUM_INTRAOP_THREADS"])
        return chosen

    found = measure_workers(
        candidate,
        spec,
        machine=Machine(2, (), 64 * GIBIBYTE, None),
        compute=Compute(precision="float32", xla="auto"),
        backend="tensorflow",
        environment=environment,
    )

    assert found.problem is None
    assert [(one.setting.workers, one.setting.threads) for one in found.measurements] == [
        (1, 2),
        (2, 1),
    ]
    assert {one.setting.xla for one in found.measurements} == {"off"}
    assert all(one.images_per_second > 0 for one in found.measurements)
    assert found.loaded is not None and not found.loaded.on_gpu
    assert sorted(map(sorted, threads.values())) == [["1"], ["2"]]


@on_cpu
@pytest.mark.slow
def test_what_was_measured_before_a_crash_is_used(spec: InputSpec, candidate: Candidate) -> None:
    def environment(setting: Setting, index: int) -> dict[str, str]:
        crashing = setting.workers == 2 and index == 1
        return {"KERAS_BACKEND": "no such backend" if crashing else "tensorflow"}

    found = measure_workers(
        candidate,
        spec,
        machine=Machine(2, (), 64 * GIBIBYTE, None),
        compute=Compute(precision="float32", xla="auto"),
        backend="tensorflow",
        environment=environment,
    )

    assert [one.setting.workers for one in found.measurements] == [1]
    assert found.problem is not None and "exited with code 1" in found.problem


@on_cpu
@pytest.mark.slow
def test_a_plan_is_measured_without_keras_in_this_process(tmp_path: Path) -> None:
    question = f"""
import sys
from pathlib import Path
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.sizing.worker_plan import plan_workers
from search.system.runtime import Compute
from spaces.candidate import Candidate
from spaces.stages import staged
backbone = staged(Plain(), filters=[2], depth=1, reduction="max", place="first", dropout=[0.0])
candidate = Candidate(model=ModelConfig(backbone=backbone, head=Pooled()))
spec = InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"))
plan = plan_workers(workers="auto", compute=Compute(), candidate=candidate, spec=spec,
    cache_directory=Path({str(tmp_path)!r}))
assert plan.measured, plan.describe()
assert plan.compute.precision != "auto" and plan.compute.xla != "auto"
assert not {{"keras", "tensorflow"}} & set(sys.modules)
print(plan.describe())
"""
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert "images/s" in answer.stdout
