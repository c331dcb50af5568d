"""The output of a dry run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import IntDistribution, json_to_distribution

from cnn_blocks.errors import UserError
from search.cli import app as cli
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
def test_json_holds_what_the_text_says_and_stdout_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "talkative.py"
    file.write_text(
        "from studies.study import StudySpec\n"
        "from tests.search.conftest import tiny_space\n"
        "print('imported')\n"
        "def space(trial):\n"
        "    print('suggested')\n"
        "    return tiny_space(trial)\n"
        "study = StudySpec(name='talkative', description='It prints.', space=space,\n"
        "    data='digits', trials=3, epochs=2, retrain_epochs=1)\n"
    )

    arguments = ["run", "--study", str(file), "--trials", "4", "--dry-run"]
    assert cli.invoke([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert "imported" in captured.err and "suggested" in captured.err

    assert (found["study"], found["description"]) == ("talkative", "It prints.")
    filters = json_to_distribution(json.dumps(found["search_space"]["filters"]))
    assert filters == IntDistribution(2, 8)
    assert found["smallest_candidate"]["parameters"] == 27 * 2 + 4 * 2 + 10 * (2 + 1)
    assert found["smallest_candidate"]["memory_bytes"] > 0
    assert found["default_candidate"]["predicted_images_per_second"] > 0
    assert (found["trials"], found["epochs_per_trial"], found["retraining_epochs"]) == (4, 2, 1)
    assert found["images"] == 1259
    assert (found["image_height_pixels"], found["image_width_pixels"]) == (32, 32)
    assert found["predicted_search_seconds"] > found["predicted_retraining_seconds"] > 0
    assert found["time_plan"]["budget_seconds"] is None
    assert found["frozen_backbone_runs_once"] is False

    assert cli.invoke(arguments) == 0
    text = capsys.readouterr().out
    assert all(note in text for note in found["notes"])
    for name in ("default", "smallest", "largest"):
        candidate = found[f"{name}_candidate"]
        assert f" {candidate['parameters']:,} parameters, " in text
        assert f"[{candidate['network']}]" in text


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
    plan = json.loads(json.dumps(answer.as_data()))["time_plan"]
    assert plan["budget_seconds"] == 480.0
    assert plan["trial_seconds"] == answer.plan.trial_seconds
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
