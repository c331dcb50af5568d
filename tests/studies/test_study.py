"""Studies: loaded by name or file, with clear errors."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import ValidationError

from cnn_blocks.errors import UserError
from spaces.probe import ProbeTrial
from spaces.shipped.quickstart import quickstart
from studies.study import StudySpec, list_studies, load_study

MINE = """
from spaces.shipped.quickstart import quickstart
from studies.study import StudySpec

study = StudySpec(
    name="mine", description="My own ranges.", space=quickstart, data="digits", epochs=3
)
"""


def test_the_shipped_studies_are_listed_and_found_by_name() -> None:
    names = [spec.name for spec in list_studies()]

    assert {
        "quickstart",
        "depth_filters",
        "dropout_l2",
        "activation_pooling",
        "optimizer",
        "augmentation",
        "full_cnn",
    } <= set(names)
    for name in names:
        loaded = load_study(name)
        assert (loaded.spec.name, loaded.source) == (name, None)


@pytest.mark.parametrize("reference", [str, Path])
def test_a_users_file_is_a_study(reference: Callable[[Path], Any], tmp_path: Path) -> None:
    file = tmp_path / "my_study.py"
    file.write_text(MINE)

    loaded = load_study(reference(file))

    assert (loaded.spec.name, loaded.spec.data) == ("mine", "digits")
    assert loaded.source == str(file)
    assert loaded.spec.candidate(ProbeTrial()).training.epochs == 3


def test_a_specification_is_itself_a_study() -> None:
    spec = StudySpec(name="mine", description="Mine.", space=quickstart)

    loaded = load_study(spec)

    assert loaded.spec is spec
    assert loaded.source is None


def test_an_unknown_name_gets_the_names_and_a_close_match() -> None:
    with pytest.raises(
        UserError, match=r"quickstart.*'depth_filter'\. Did you mean 'depth_filters'\?"
    ):
        load_study("depth_filter")
    with pytest.raises(UserError, match=r"received 'zzz'\.$"):
        load_study("zzz")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*absent\.py"):
        load_study(tmp_path / "absent.py")


@pytest.mark.parametrize(
    ("source", "found"), [("x = 1", "no `study`"), ("study = 3", "`study` as int")]
)
def test_a_file_without_a_study_says_what_it_needs(source: str, found: str, tmp_path: Path) -> None:
    file = tmp_path / "my_study.py"
    file.write_text(source)

    with pytest.raises(UserError, match=rf"must define `study = StudySpec\(...\)`.*{found}"):
        load_study(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "two words"),
        ("name", "a/b"),
        ("name", ".."),
        ("metric", "f1"),
        ("trials", 0),
        ("budget_seconds", 0),
        ("epochs", 0),
        ("colour", "blue"),
    ],
)
def test_an_illegal_specification_names_the_field(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"name": "mine", "description": "Mine.", "space": quickstart}

    with pytest.raises(ValidationError, match=field):
        StudySpec(**(fields | {field: value}))


def test_the_pruner_counts_in_the_studys_steps() -> None:
    firsts: list[int] = []

    def pruner(first: int) -> optuna.pruners.BasePruner:
        firsts.append(first)
        return optuna.pruners.NopPruner()

    spec = StudySpec(
        name="mine",
        description="Mine.",
        space=quickstart,
        pruner=pruner,
        first_rung=3,
        reports_per_epoch=4,
    )

    assert isinstance(spec.make_pruner(), optuna.pruners.NopPruner)
    assert firsts == [12]


def test_the_default_sampler_and_pruner_search_without_a_warning() -> None:
    spec = StudySpec(name="mine", description="Mine.", space=quickstart, first_rung=1)
    study = optuna.create_study(sampler=spec.sampler(1), pruner=spec.make_pruner())
    pruned = []

    for number in range(12):
        trial = study.ask()
        spec.candidate(trial)
        for step in range(1, 9):
            trial.report(number, step)
            if trial.should_prune():
                pruned.append((number, step))
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, number)

    # Each trial is worse than all before, so after the first none passes the first rung.
    assert pruned == [(number, 2) for number in range(1, 12)]


def test_study_files_keep_their_imports(tmp_path: Path) -> None:
    """The names that study files of earlier versions import."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from cnn_blocks.augmentation import Augmentation\n"
        "from cnn_blocks.blocks.plain import Plain\n"
        "from cnn_blocks.config import Activation, Block, ModelConfig\n"
        "from cnn_blocks.heads.pooled import Pooled\n"
        "from cnn_blocks.layers import activate, convolve, normalize\n"
        "from cnn_blocks.registry import block\n"
        "from search import RunResult, run_study\n"
        "from spaces.candidate import Candidate, TrainingConfig\n"
        "from spaces.depth_filters import depth_filters\n"
        "from spaces.stages import growing_filters, staged\n"
        "from spaces.suggest import suggest\n"
        "from studies.depth_filters import study as shipped\n"
        "from studies.study import StudySpec\n"
        "study = StudySpec(name='mine', description='Mine.', space=depth_filters)\n"
        "assert shipped.name == 'depth_filters'\n"
    )

    assert load_study(file).spec.name == "mine"


@pytest.mark.parametrize("name", ["cnn_blocks.blocks.plain", "search.keras_tuner.network"])
def test_modules_that_configurations_name_stay_where_they_are(name: str) -> None:
    assert importlib.import_module(name).__name__ == name
