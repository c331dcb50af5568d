"""Why an interrupted trial is ended and continued by another: only its end keeps writes away.

These describe Optuna, not this project. If one of them fails, Optuna has a fence of its own, and
`search.trials.attempts` may become simpler.
"""

from collections.abc import Iterator

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from search.storage import open_storage, quiet_optuna


@pytest.fixture
def holders(url: str) -> Iterator[tuple[optuna.Trial, optuna.Study]]:
    """A trial with a suspended holder, and the study as opened by another process."""
    with quiet_optuna():
        study = optuna.create_study(storage=open_storage(url), study_name="shared")
        study.enqueue_trial({"x": 0.5})
        yield study.ask(), optuna.load_study(study_name="shared", storage=open_storage(url))


def test_a_trial_returned_to_the_queue_still_accepts_writes_of_its_old_holder(
    holders: tuple[optuna.Trial, optuna.Study],
) -> None:
    old, study = holders
    study._storage.set_trial_state_values(old._trial_id, TrialState.WAITING)
    new = study.ask()
    assert new._trial_id == old._trial_id

    old.report(0.1, step=1)
    old.study.tell(old, 0.1)

    assert study.trials[0].value == 0.1
    with pytest.raises(UpdateFinishedTrialError):
        new.report(0.9, step=2)


def test_a_late_return_takes_the_trial_from_its_new_holder(
    holders: tuple[optuna.Trial, optuna.Study],
) -> None:
    old, study = holders
    for holder in (study.ask, old.study.ask):
        study._storage.set_trial_state_values(old._trial_id, TrialState.WAITING)
        assert holder()._trial_id == old._trial_id


def test_a_finished_trial_refuses_every_later_write(
    holders: tuple[optuna.Trial, optuna.Study],
) -> None:
    old, study = holders
    study.tell(old.number, state=TrialState.FAIL)

    with pytest.raises(UpdateFinishedTrialError):
        old.report(0.1, step=1)
    with pytest.raises(UpdateFinishedTrialError):
        old.set_user_attr("late", 1)
