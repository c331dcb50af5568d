"""The output of a dry run."""

from dataclasses import replace
from pathlib import Path

import pytest

from cnn_blocks.errors import UserError
from search.dry_run import describe_study
from search.optimize.budget import Budget
from search.sizing.machine_speed import MachineSpeed
from search.storage.places import Places
from studies.study import StudySpec, load_study


@pytest.fixture
def quick_speed(monkeypatch: pytest.MonkeyPatch, speed: MachineSpeed) -> None:
    """Skips the speed measurement."""
    for place in ("search.optimize.planning", "search.dry_run"):
        monkeypatch.setattr(f"{place}.measured_speed", lambda *_, **__: speed)


def test_a_dry_run_shows_the_space_its_extremes_and_the_time(
    tiny_study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    answer = describe_study(tiny_study, trials=4)

    assert list(answer.parameters) == ["filters", "dropout"]
    # 3x3 convolution of 3 channels, batch normalisation, ten classes.
    assert answer.smallest.parameters == 27 * 2 + 4 * 2 + 10 * (2 + 1)
    assert answer.largest.parameters == 27 * 8 + 4 * 8 + 10 * (8 + 1)
    assert answer.seconds_per_epoch is not None and answer.seconds_per_epoch > 0
    assert answer.search_seconds == pytest.approx(4 * 2 * answer.seconds_per_epoch)
    assert "filters  2 to 8" in str(answer)
    assert "search: 4 trials of 2 epochs on 1,259 images" in str(answer)
    assert not (tmp_path / "runs").exists()

    bounded = describe_study(tiny_study, budget=30.0, trials=100_000)
    assert bounded.search_seconds == bounded.plan.search_seconds
    assert bounded.search_seconds is not None and bounded.search_seconds < 30
    assert "time plan: 30 s in total: " in str(bounded)


@pytest.mark.usefixtures("quick_speed")
def test_a_study_with_planned_lengths_shows_the_plan_and_trains_nothing(
    timed_study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a dry run trains nothing")

    monkeypatch.setattr(keras.Model, "fit", refuse)
    answer = describe_study(timed_study, budget=480.0)

    text = str(answer)
    assert (answer.epochs, answer.retrain_epochs, answer.trials) == (None, None, None)
    assert answer.plan.describe() in text
    assert text.startswith("tiny: Filters and dropout")
    assert "search: as many trials as fit of " in text
    assert "nothing was trained" in text
    assert answer.default.images_per_second > 0
    assert answer.default.multiply_accumulates > 0
    assert answer.retrain_seconds == answer.plan.retraining_seconds
    unlimited = describe_study(timed_study, budget=Budget(trials=3, retrain=False))
    assert "time plan: no time limit" in str(unlimited)
    assert unlimited.search_seconds == 3 * unlimited.plan.trial_seconds  # type: ignore[operator]
    assert unlimited.retrain_seconds is None


@pytest.mark.usefixtures("quick_speed")
def test_a_retraining_that_leaves_no_time_is_refused(
    timed_study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))

    with pytest.raises(UserError, match="including the final training"):
        describe_study(timed_study, budget=Budget(seconds=60.0, retraining_seconds=60.0))


def test_a_dry_run_shows_which_recipes_come_first(
    tiny_study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))

    answer = describe_study(tiny_study, warm_start="recipes")

    assert any(note.startswith("no first trial: granita_1: ") for note in answer.notes)
    assert answer.notes[-1] in str(answer)


@pytest.mark.slow
def test_a_dry_run_says_that_a_frozen_backbone_costs_less(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    frozen = load_study("transfer_head").with_backbones(
        [str(real_data / "squeezenet_v11_imagenet.keras")]
    )
    brief = replace(frozen, spec=frozen.spec.model_copy(update={"probes": 1}))

    assert "The frozen backbone runs once" in str(describe_study(brief, data="digits"))
    with_none_kept = describe_study(brief, data="digits", places=Places(cache_limit=0))
    assert "The frozen backbone" not in str(with_none_kept)
