"""The best trial of a stored study."""

from pathlib import Path

import optuna
import pytest

from cnn_blocks.errors import UserError
from search.storage import TrialAttribute, open_storage, quiet_optuna
from search.winner import best_configuration, load_stored_study


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with quiet_optuna():
        optuna.create_study(storage=open_storage(url), study_name="mine")
    return url


def test_an_unknown_study_is_answered_with_those_there_are(url: str) -> None:
    with pytest.raises(UserError, match=r"must be one of mine.*received 'yours'"):
        load_stored_study("yours", url)


def test_a_study_without_a_complete_trial_has_no_winner(url: str) -> None:
    with pytest.raises(UserError, match="needs a complete trial"):
        best_configuration(load_stored_study("mine", url))


def test_a_candidate_of_another_version_is_told_with_the_way_out(url: str) -> None:
    study = load_stored_study("mine", url)
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.CANDIDATE, "{}")
    study.tell(trial, 0.5)

    with pytest.raises(UserError, match="Use the version that searched"):
        best_configuration(study)


def test_a_study_of_another_program_has_no_winner(url: str) -> None:
    study = load_stored_study("mine", url)
    study.tell(study.ask(), 0.5)

    with pytest.raises(UserError, match=r"not made by this program\. Name a study"):
        best_configuration(study)
