"""The resources of a machine that a search may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.sizing.machine import available_cores, chosen_gpus, parse_gpus

TWO_GPUS = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: Tesla T4 (UUID: GPU-c8a50302-8a49-3ee5-7f3f-4dd4c0c1b2a9)
"""
DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 3g.20gb     Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: Tesla T4 (UUID: GPU-c8a50302-8a49-3ee5-7f3f-4dd4c0c1b2a9)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be bound here")
def test_cores_that_the_process_is_bound_to_count(tmp_path: Path) -> None:
    question = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "import search.sizing.machine as m; "
        "print(m.available_cores())"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, check=True)

    assert answer.stdout.split() == [b"1"]


@pytest.mark.parametrize(
    ("file", "text", "cores"),
    [
        ("cpu.max", "100000 100000\n", 1),
        ("cpu.max", "150000 100000\n", 1),
        ("cpu.max", "50000 100000\n", 1),
        ("cpu.max", "max 100000\n", None),
        ("cpu.max", "gibberish", None),
    ],
)
def test_a_quota_counts_in_whole_cores(
    file: str, text: str, cores: int | None, tmp_path: Path
) -> None:
    unlimited = available_cores(tmp_path)
    (tmp_path / file).write_text(text)

    assert available_cores(tmp_path) == (cores or unlimited)


def test_the_old_quota_counts_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")

    assert available_cores(tmp_path) == 1


def test_gpus_are_known_by_identifier() -> None:
    found = parse_gpus(TWO_GPUS)

    assert list(found.values()) == ["NVIDIA A100-SXM4-40GB", "Tesla T4"]
    assert all(identifier.startswith("GPU-") for identifier in found)
    assert parse_gpus("No devices were found\n") == {}


def test_a_divided_gpu_counts_as_its_parts() -> None:
    found = parse_gpus(DIVIDED)

    assert [identifier[:3] for identifier in found] == ["MIG", "MIG", "GPU"]
    assert list(found.values())[:2] == ["NVIDIA A100-SXM4-40GB, part 3g.20gb"] * 2


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, ["NVIDIA A100-SXM4-40GB", "Tesla T4"]),
        ("1", ["Tesla T4"]),
        ("1,0", ["Tesla T4", "NVIDIA A100-SXM4-40GB"]),
        ("GPU-c8a5", ["Tesla T4"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["NVIDIA A100-SXM4-40GB"]),
        ("7", []),
    ],
)
def test_what_cuda_is_told_to_see_is_what_counts(wanted: str | None, chosen: list[str]) -> None:
    assert list(chosen_gpus(parse_gpus(TWO_GPUS), wanted).values()) == chosen
