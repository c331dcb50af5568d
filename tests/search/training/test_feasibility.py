"""Memory estimated from shapes, and free memory."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cnn_blocks.build import ModelShape
from cnn_blocks.errors import InfeasibleError
from search.training.feasibility import (
    MEBIBYTE,
    _left_of,
    estimate_memory,
    free_memory,
    gpu_memory,
    require_memory,
    require_parameters,
    whole_gpu_memory,
)
from spaces.candidate import TrainingConfig
from tests.support.control_group import memory_group

SMALL = ModelShape(
    parameters=10_000, trainable_parameters=10_000, activations=50_000, feature_map=(4, 4, 8)
)


def test_weights_and_activations_both_count() -> None:
    hostile = ModelShape(
        parameters=10**9, trainable_parameters=10**9, activations=50_000, feature_map=(4, 4, 8)
    )
    small = estimate_memory(SMALL, TrainingConfig(batch_size=128))

    assert small < 300 * MEBIBYTE
    assert estimate_memory(hostile, TrainingConfig(batch_size=128)) > 16 * 10**9
    assert estimate_memory(SMALL, TrainingConfig(batch_size=65_536)) > 20 * 10**9


def test_a_frozen_part_evaluated_beforehand_costs_no_training_memory() -> None:
    frozen = ModelShape(
        parameters=10**6,
        trainable_parameters=10_000,
        activations=2 * 10**7,
        feature_map=(4, 4, 8),
        frozen_activations=2 * 10**7 - 1000,
        largest_activation=3 * 10**6,
    )
    training = TrainingConfig(batch_size=512)

    on_images = estimate_memory(frozen, training)

    assert on_images > 16 * 10**9
    assert estimate_memory(frozen, training, on_features=True) < 2 * 10**9


def test_memory_is_judged_by_the_batches_that_there_are() -> None:
    photos = ModelShape(
        parameters=10**6,
        trainable_parameters=10**6,
        activations=5 * 10**7,
        feature_map=(4, 4, 8),
        largest_activation=10**7,
    )
    training = TrainingConfig(batch_size=256)

    unbounded = estimate_memory(photos, training)
    of_63 = estimate_memory(photos, training, images=63)

    assert unbounded > 50 * 10**9
    assert of_63 == pytest.approx(unbounded * 63 / 256, rel=0.02)
    assert of_63 == estimate_memory(photos, TrainingConfig(batch_size=63))
    assert estimate_memory(photos, training, images=256) == unbounded
    assert estimate_memory(photos, training, images=10**6) == unbounded


def test_validation_has_no_more_images_than_there_are() -> None:
    wide = ModelShape(
        parameters=10**4,
        trainable_parameters=10**4,
        activations=10**6,
        feature_map=(4, 4, 8),
        frozen_activations=10**6 - 100,
        largest_activation=10**5,
    )
    training = TrainingConfig(batch_size=1)

    few, many = (estimate_memory(wide, training, images=images) for images in (16, 10**6))

    assert few < many == estimate_memory(wide, training)


def test_more_than_what_is_free_is_infeasible() -> None:
    require_memory(100 * MEBIBYTE, available=1000 * MEBIBYTE)

    with pytest.raises(InfeasibleError, match="950 MiB, and 900 MiB") as raised:
        require_memory(950 * MEBIBYTE, available=1000 * MEBIBYTE)

    assert raised.value.constraint == "memory"


def test_on_a_gpu_a_workers_share_counts_and_not_what_others_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.training.feasibility.free_memory", lambda: 100 * MEBIBYTE)
    monkeypatch.setattr("search.training.feasibility.device_kind", lambda: "gpu")
    require_memory(800 * MEBIBYTE, share=1000 * MEBIBYTE)
    with pytest.raises(InfeasibleError, match="950 MiB, and 900 MiB"):
        require_memory(950 * MEBIBYTE, share=1000 * MEBIBYTE)

    monkeypatch.setattr("search.training.feasibility.device_kind", lambda: "cpu")
    with pytest.raises(InfeasibleError, match="800 MiB, and 90 MiB"):
        require_memory(800 * MEBIBYTE, share=1000 * MEBIBYTE)


def test_a_whole_gpu_is_more_than_what_is_free_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = 'case "$*" in *memory.total*) echo 81920;; *memory.free*) echo 1024;; esac'
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{answers}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    assert whole_gpu_memory() == 81920 * MEBIBYTE
    assert gpu_memory.__wrapped__() == 1024 * MEBIBYTE


def test_more_parameters_than_a_study_allows_are_infeasible() -> None:
    require_parameters(10**12, None)
    require_parameters(1000, 1000)

    with pytest.raises(InfeasibleError, match=r"at most 1,000 parameters.*have 1,001") as raised:
        require_parameters(1001, 1000)

    assert raised.value.constraint == "parameters"


def test_free_memory_is_less_than_what_the_machine_has() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_a_control_groups_limit_counts(tmp_path: Path) -> None:
    second, first = tmp_path / "second", tmp_path / "first"
    second.mkdir()
    (second / "memory.max").write_text("1000000\n")
    (second / "memory.current").write_text("700000\n")
    (second / "memory.stat").write_text("anon 500000\ninactive_file 200000\n")
    first.mkdir()
    (first / "memory.limit_in_bytes").write_text("2000000\n")
    (first / "memory.usage_in_bytes").write_text("500000\n")
    (first / "memory.stat").write_text("total_inactive_file 100000\n")

    assert list(_left_of([second])) == [500_000]
    assert list(_left_of([first, second])) == [1_600_000, 500_000]


def test_a_control_group_without_a_limit_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")

    assert list(_left_of([tmp_path])) == []


def test_the_limit_of_the_group_that_a_job_scheduler_made_counts() -> None:
    code = (
        "input(); from search.training.feasibility import free_memory; "
        "print(free_memory(on_gpu=False))"
    )
    with memory_group(512 * MEBIBYTE) as group:
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            (group / "cgroup.procs").write_text(str(process.pid))
            free, _ = process.communicate("\n", timeout=60)

        assert 0 < int(free) < 512 * MEBIBYTE


MEASURE = """
import sys, threading, time
import numpy as np, psutil
from search.system.runtime import Compute, start_keras
start_keras()
from cnn_blocks.blocks.residual import Residual
from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.training import feasibility
from search.data import Subset
from search.training import fit
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged

size, batch = int(sys.argv[1]), int(sys.argv[2])
backbone = staged(
    Residual(), filters=[32, 64], depth=1, reduction="max", place="last", dropout=[0.1] * 2
)
candidate = Candidate(
    model=ModelConfig(backbone=backbone, head=Pooled()),
    training=TrainingConfig(epochs=1, batch_size=batch),
)
def subset(images):
    pixels = np.zeros((images, size, size, 3), dtype=np.uint8)
    return Subset(images=pixels, labels=np.arange(images) % 2, indices=np.arange(images))
spec = InputSpec(image_shape=(size, size, 3), class_names=("a", "b"))
process = psutil.Process()
before = peak = process.memory_info().rss
estimate = feasibility.estimate_memory(describe_model(candidate.model, spec), candidate.training)
def watch():
    global peak
    while True:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
compute = Compute(precision="float32")
fit(candidate, subset(3 * batch), spec=spec, validation=subset(512), seed=0, compute=compute)
print((peak - before) / estimate)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "batch"), [(32, 256), (64, 16), (64, 128)])
def test_the_estimate_bounds_the_measured_growth(size: int, batch: int, repository: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, str(size), str(batch)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stderr
    assert 0.2 < float(ended.stdout.split()[-1]) < 1.0
