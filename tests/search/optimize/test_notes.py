"""The notes that the dashboard shows: what they say, and when they are written."""

import json
import math
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.trial import create_trial
from optuna_dashboard import get_note, save_note  # type: ignore[import-untyped]
from optuna_dashboard._custom_plot_data import (  # type: ignore[import-untyped]
    get_plotly_graph_objects,
)

from search.optimize.notes import write_notes
from search.storage import StudyAttribute, TrialAttribute
from search.storage.dashboard import save_for_dashboard
from search.trials.outcomes import Outcome


def _complete(study: optuna.Study, value: float) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_int("filters", 8, 32, step=8)
    trial.suggest_categorical("a|b", ["x", "y"])
    trial.set_user_attr(TrialAttribute.SUMMARY, "plain relu 8 | 16; muon 0.01")
    trial.set_user_attr(TrialAttribute.SECONDS, 12.3)
    trial.set_user_attr(TrialAttribute.IMAGES_PER_SECOND, 4321.5)
    trial.set_user_attr(TrialAttribute.PARAMETERS, 11_714)
    study.tell(trial, value)
    return trial


def _note(study: optuna.Study, number: int) -> str:
    return str(get_note(optuna.Trial(study, study.trials[number]._trial_id)))


def test_the_study_says_how_to_repeat_it_what_it_searched_and_found(study: optuna.Study) -> None:
    described = {
        "metric": "macro_f1",
        "image_shape": "8x8",
        "split_fractions": "train 0.7, validation 0.3",
        StudyAttribute.DESCRIPTION: "Filters *and* more.",
        StudyAttribute.COMMAND: "python -m search run --data 'a```b'",
        StudyAttribute.DATA: "/images/my_set",
        StudyAttribute.CLASS_NAMES: ["<script>", "cat_1", "two\nlines"],
        StudyAttribute.SEARCH_SECONDS: 75.0,
    }
    for name, value in described.items():
        study.set_user_attr(name, value)
    write_notes(study)
    assert "no complete trial yet" in get_note(study)
    for value in (0.5, 0.75):
        _complete(study, value)
    failed = study.ask()
    failed.set_user_attr(TrialAttribute.OUTCOME, Outcome.FAILED)
    study.tell(failed, state=optuna.trial.TrialState.FAIL)

    write_notes(study)

    note = get_note(study)
    for part in (
        r"Filters \*and\* more\.",
        r"validation macro F1 **0.7500**, trial 1: plain relu 8 \| 16; muon 0\.01",
        "Trials: 2 complete, 1 failed, in 1 min 15 s of search.",
        "\n````\npython -m search run --data 'a```b'\n````\n",
        r"/images/my\_set: 3 classes (\<script\>, cat\_1, two lines); images of 8x8 pixels",
        r"train 0\.7, validation 0\.3",
        "| filters | 8 to 32, in steps of 8 |",
        r"| a\|b | x, y |",
    ):
        assert part in note


def test_the_ten_best_trials_say_what_they_were(study: optuna.Study) -> None:
    for number in range(12):
        _complete(study, number / 100)

    write_notes(study)

    noted = [number for number in range(12) if _note(study, number)]
    assert noted == list(range(2, 12))
    assert _note(study, 11) == (
        "plain relu 8 \\| 16; muon 0\\.01\n\n"
        "- validation value **0.1100**\n"
        "- 12 s, 4,322 images/s, 11,714 parameters\n"
        "- complete: trained to its end\n"
    )


def test_a_loss_is_best_when_it_is_small(study: optuna.Study) -> None:
    losses = optuna.create_study(storage=study._storage, study_name="losses", direction="minimize")
    for number in range(11):
        _complete(losses, number / 100)

    write_notes(losses)

    assert [number for number in range(11) if not _note(losses, number)] == [10]
    assert "**0.0000**, trial 0" in get_note(losses)


def test_notes_are_read_once_and_only_changes_are_written(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("get_study_system_attrs", "set_study_system_attr"):
        whole = getattr(study._storage, name)

        def counted(*values: Any, name: str = name, whole: Any = whole) -> Any:
            calls.append(name)
            return whole(*values)

        monkeypatch.setattr(study._storage, name, counted)
    notes: dict[int | None, str] = {None: "long " * 5000, 0: "", 1: "of trial 1"}
    for _ in range(2):
        _complete(study, 0.5)

    for times in (1, 2):
        save_for_dashboard(study, notes=notes)
        assert calls.count("get_study_system_attrs") == times
        # A version and three parts, and a version and one part.
        assert calls.count("set_study_system_attr") == 6
    assert get_note(study) == notes[None]

    save_for_dashboard(study, notes={None: "short"})

    assert get_note(study) == "short"
    assert _note(study, 1) == "of trial 1"


def test_what_a_person_wrote_stays(study: optuna.Study) -> None:
    trial = _complete(study, 0.5)
    write_notes(study)
    ours = get_note(study)
    save_note(trial, "a person's own")  # as the dashboard does

    _complete(study, 0.75)
    write_notes(study)

    assert _note(study, 0) == "a person's own"
    assert get_note(study) != ours
    assert _note(study, 1) != ""


def test_the_plots_leave_pauses_out_and_step_from_best_to_best(study: optuna.Study) -> None:
    begin = datetime(2026, 11, 1, 12)
    # In minutes; the third overlaps the second, and nothing runs between 20 and 80.
    times = [(0, 10, 0.5), (12, 20, 0.4), (15, 18, 0.7), (80, 90, 0.6), (90, 95, math.inf)]
    for start, end, value in times:
        trial = create_trial(value=value, user_attrs={TrialAttribute.PARAMETERS: 100 * end})
        trial.datetime_start = begin + timedelta(minutes=start)
        trial.datetime_complete = begin + timedelta(minutes=end)
        study.add_trial(trial)

    write_notes(study)

    attributes = study._storage.get_study_system_attrs(study._study_id)
    plots = get_plotly_graph_objects(attributes)
    size, time = (json.loads(figure) for _, figure in sorted(plots.items()))
    (points,) = size["data"]
    assert (points["x"], points["y"]) == ([1800, 9000, 1000, 2000], [0.7, 0.6, 0.5, 0.4])
    assert points["text"][0] == "trial 2"
    assert size["layout"]["xaxis"]["title"]["text"] == "parameters"
    points, steps = time["data"]
    assert points["x"] == [16, 28, 10, 18]
    assert (steps["x"], steps["y"]) == ([10, 16], [0.5, 0.7])


def test_a_study_without_a_complete_trial_has_no_plots(study: optuna.Study) -> None:
    write_notes(study)
    attributes = study._storage.get_study_system_attrs(study._study_id)
    assert get_plotly_graph_objects(attributes) == {}
