"""A machine's speed: from probes to factors, measured once and cached."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from search.sizing import machine_speed
from search.sizing.coefficients import GROUPS, PROBES, Group
from search.sizing.machine_speed import MachineSpeed, MeasuredOn, measured_speed, speed_from
from search.sizing.timing import Timed, fastest_window
from search.sizing.timing_process import BusyTime
from search.system.runtime import Compute

MEASURED_ON = MeasuredOn(
    backend="tensorflow",
    policy="float32",
    compiled=False,
    threads=2,
    processor="a processor",
    device="cpu",
)

FLOAT32 = Compute(precision="float32", xla="off")


def timed(**factors: float) -> dict[Group, Timed]:
    reference = PROBES["float32"]
    return {
        group: Timed(
            step=reference[group][0] * factors.get(group, 1.0),
            compiling=reference[group][1] * factors.get("compiling", 1.0),
            validation=None,
        )
        for group in GROUPS
    }


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the probes with instant ones; returns the precisions of those that ran."""
    made: list[str] = []

    def time_training(candidate: object, spec: object, **options: Any) -> Timed:
        made.append(options["compute"].precision)
        return Timed(step=0.02, compiling=1.0, validation=None)

    monkeypatch.setattr(machine_speed, "time_training", time_training)
    monkeypatch.setattr(BusyTime, "others_share", lambda self: 0.05)
    return made


def test_the_machine_of_the_coefficients_has_factors_of_one() -> None:
    speed = speed_from(timed(), MEASURED_ON)

    assert speed.scales == pytest.approx(dict.fromkeys(GROUPS, 1.0))
    assert speed.compiling == pytest.approx(1.0)


def test_a_machine_that_is_slower_throughout_has_one_factor() -> None:
    speed = speed_from(timed(overhead=3.0, arithmetic=3.0, memory=3.0, compiling=2.0), MEASURED_ON)

    assert speed.scales == pytest.approx(dict.fromkeys(GROUPS, 3.0))
    assert speed.compiling == pytest.approx(2.0)


@pytest.mark.parametrize("slow", GROUPS)
def test_what_slows_one_probe_is_found_in_its_group(slow: Group) -> None:
    scales: Mapping[Group, float] = speed_from(timed(**{slow: 1.5}), MEASURED_ON).scales

    assert max(scales, key=lambda group: scales[group]) == slow
    assert all(1.0 <= scale <= 1.5 for scale in scales.values())


def test_extreme_measurements_leave_finite_factors() -> None:
    scales = speed_from(timed(overhead=50.0, arithmetic=0.02, memory=1.0), MEASURED_ON).scales

    assert all(0.02 <= scale <= 50 for scale in scales.values())


def test_a_speed_is_measured_once_and_read_afterwards(
    measurements: list[str], tmp_path: Path
) -> None:
    speed = measured_speed(FLOAT32, cache_directory=tmp_path)
    again = measured_speed(FLOAT32, cache_directory=tmp_path)

    assert again == speed
    assert measurements == ["float32"] * len(GROUPS)
    assert MachineSpeed.model_validate_json(speed.model_dump_json()) == speed
    measured_speed(Compute(precision="bfloat16", xla="off"), cache_directory=tmp_path)
    assert len(measurements) == 2 * len(GROUPS)


def test_threads_are_part_of_what_was_measured(
    measurements: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")

    speed = measured_speed(FLOAT32, cache_directory=tmp_path)

    assert speed.measured_on.threads == 1


@pytest.mark.parametrize("content", ["", "{", '{"overhead": 1}', "foreign"])
def test_a_damaged_or_foreign_file_is_measured_anew(
    content: str, measurements: list[str], tmp_path: Path
) -> None:
    speed = measured_speed(FLOAT32, cache_directory=tmp_path)
    (path,) = (tmp_path / "speed").glob("*.json")
    if content == "foreign":
        foreign = json.loads(path.read_text())
        foreign["measured_on"]["processor"] = "another one"
        content = json.dumps(foreign)
    path.write_text(content)

    again = measured_speed(FLOAT32, cache_directory=tmp_path)

    assert again == speed
    assert len(measurements) == 2 * len(GROUPS)
    assert MachineSpeed.model_validate_json(path.read_bytes()) == speed


def test_what_other_programs_disturbed_is_used_and_not_kept(
    measurements: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BusyTime, "others_share", lambda self: 0.6)

    speed = measured_speed(FLOAT32, cache_directory=tmp_path)

    assert speed.others_share == 0.6
    assert not list(tmp_path.rglob("*.json"))


def test_a_folder_that_cannot_be_written_only_costs_time(
    measurements: list[str], tmp_path: Path
) -> None:
    (tmp_path / "speed").write_text("in the way")

    assert measured_speed(FLOAT32, cache_directory=tmp_path).overhead > 0


def test_a_real_measurement_trains_and_is_plausible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_speed, "_PROBE_SECONDS", 0.1)

    speed = measured_speed(FLOAT32, cache_directory=tmp_path)

    assert all(0.01 < scale < 100 for scale in (*speed.scales.values(), speed.compiling))


def test_the_fastest_window_counts_and_the_first_steps_do_not() -> None:
    calm, disturbed = [1.0] * 5, [3.0] * 5

    assert fastest_window([90.0, 90.0, *disturbed, *calm, *disturbed]) == 1.0
    assert fastest_window([90.0, 8.0]) == 8.0
    assert fastest_window([90.0, 90.0, 2.0]) == 2.0
