"""Recipes as a study's first trials."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.data import DataSource
from search.optimize.budget import Budget
from search.optimize.sampling import ReseedingSampler
from search.optimize.warm_start import enqueue_once, enqueue_recipes
from search.pipeline import run_study
from search.progress.events import Event, Note, Progress
from search.storage import TrialAttribute
from search.trials.outcomes import Outcome, outcome_of
from spaces.recipes import RECIPES
from spaces.shipped.depth_filters import depth_filters
from spaces.shipped.hand_made import hand_made
from studies.study import StudySpec

STUDY = StudySpec(name="hand_made", description="All.", space=hand_made, epochs=3)


class Notes(Progress):
    """Collects notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note):
            self.texts.append(event.text)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(sampler=ReseedingSampler(optuna.samplers.RandomSampler(), seed=0))


def test_the_first_trials_are_the_recipes(study: optuna.Study) -> None:
    notes = Notes()

    enqueue_recipes(study, STUDY, notes)

    waiting = study.get_trials(states=(TrialState.WAITING,))
    names = [trial.user_attrs[TrialAttribute.RECIPE] for trial in waiting]
    assert names == [
        *("granita_1", "granita_2", "granita_3", "granita_final", "g3_homebrew"),
        *("bicocca_cnn", "ironhack_1", "ironhack_vgg12", "siaj_tensorflow"),
    ]
    for name in names:
        trial = study.ask()
        candidate = STUDY.candidate(trial)
        assert trial.user_attrs[TrialAttribute.RECIPE] == name
        wanted = RECIPES[name].candidate
        assert candidate.training.learning_rate == wanted.training.learning_rate
        assert candidate.training.epochs == 3
        assert candidate.model == wanted.model
    assert "first trial: siaj_pytorch, the same as siaj_tensorflow here" in notes.texts
    assert any(
        text.startswith("no first trial: siaj_vgg16: backbone 'keras_application'")
        for text in notes.texts
    )
    assert any("granita_final, but early_stopping 10" in text for text in notes.texts)
    assert notes.texts[-1] == "9 of 18 recipes are among the first trials"


def test_a_resumed_study_gets_them_once(study: optuna.Study) -> None:
    enqueue_recipes(study, STUDY, Notes())
    once = len(study.get_trials())

    enqueue_recipes(study, STUDY, Notes())

    assert len(study.get_trials()) == once


def test_two_processes_that_enqueue_at_once_leave_one_trial(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = study._storage.create_new_trial

    def overtaken(*arguments: Any, **named: Any) -> int:
        monkeypatch.setattr(study._storage, "create_new_trial", create)
        enqueue_once(study, {"x": 1})
        return create(*arguments, **named)

    monkeypatch.setattr(study._storage, "create_new_trial", overtaken)

    enqueue_once(study, {"x": 1})

    first, second = study.get_trials()
    assert first.state is TrialState.WAITING
    assert second.state is TrialState.FAIL
    assert outcome_of(second) is Outcome.INTERRUPTED
    enqueue_once(study, {"x": 1})
    enqueue_once(study, {"x": 2})
    assert [trial.system_attrs["fixed_params"] for trial in study.get_trials()] == [
        *[{"x": 1}] * 2,
        {"x": 2},
    ]


def test_no_process_takes_a_trial_before_it_is_known_to_be_the_first(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = study._storage.create_new_trial
    taken = []

    def create_and_ask(*arguments: Any, **named: Any) -> int:
        monkeypatch.setattr(study._storage, "create_new_trial", create)
        created = create(*arguments, **named)
        taken.append(study.ask().number)
        return created

    monkeypatch.setattr(study._storage, "create_new_trial", create_and_ask)

    enqueue_once(study, {"x": 1})

    assert taken == [1]
    assert study.get_trials()[0].state is TrialState.WAITING


def test_a_space_that_can_express_no_recipe_says_why(study: optuna.Study) -> None:
    notes = Notes()
    spec = StudySpec(name="depth_filters", description="Plain.", space=depth_filters)

    enqueue_recipes(study, spec, notes)

    assert study.get_trials() == []
    assert len(notes.texts) == len(RECIPES) + 1
    refused = {text.split(": ")[1]: text for text in notes.texts[:-1]}
    assert set(refused) == set(RECIPES)
    assert "blocks.1.padding valid (nearest same)" in refused["ironhack_1"]
    assert "and " in refused["ironhack_vgg12"] and refused["ironhack_vgg12"].endswith(" more")
    assert notes.texts[-1] == "0 of 18 recipes are among the first trials"


def test_a_search_starts_with_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    spec = STUDY.model_copy(update={"epochs": 1, "start": ({"optimizer": "adam"},)})

    result = run_study(
        spec,
        data=DataSource(location="digits", image_size=32),
        budget=Budget(trials=1, retraining_epochs=1),
        storage=f"sqlite:///{tmp_path}/studies.db",
        places=tmp_path,
        warm_start="recipes",
    )

    first, *others = result.study.trials
    assert first.user_attrs[TrialAttribute.RECIPE] == "granita_1"
    assert first.state is TrialState.COMPLETE
    assert result.candidate.model == RECIPES["granita_1"].candidate.model
    assert [TrialAttribute.RECIPE in trial.user_attrs for trial in others] == [*[True] * 8, False]
    assert others[-1].system_attrs["fixed_params"] == {"optimizer": "adam"}
