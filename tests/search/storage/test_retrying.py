"""An operation that is retried after a lost database reply is carried out only once."""

import logging
import time
from collections.abc import Iterator
from functools import partial

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import make_url

from search.storage import open_storage, quiet_optuna
from search.storage.connections import ConnectionLostError
from search.storage.retrying import RetryingStorage
from tests.support.lossy_connection import LossyConnection, lossy_connection
from tests.support.postgresql import Cluster, private_cluster


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


@pytest.fixture
def connection(postgresql_cluster: Cluster) -> Iterator[LossyConnection]:
    """A connection to the server that drops replies on request."""
    with lossy_connection(postgresql_cluster.port) as made:
        yield made


@pytest.fixture
def url(postgresql_cluster: Cluster) -> str:
    """An empty database, with a direct connection."""
    return postgresql_cluster.new_database()


@pytest.fixture
def study(url: str, connection: LossyConnection) -> optuna.Study:
    """A new study, accessed through `connection`."""
    lossy = make_url(url).set(port=connection.port).render_as_string(hide_password=False)
    return optuna.create_study(storage=open_storage(lossy), study_name="lossy")


def _stored(url: str) -> optuna.Study:
    return optuna.load_study(study_name="lossy", storage=open_storage(url))


def test_a_trial_is_asked_for_once(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    # The first commit of ask() ends its query for waiting trials.
    connection.lose_reply(commits_before=1)
    asked = study.ask()

    assert connection.lost_replies == 1
    assert [trial.number for trial in _stored(url).trials] == [asked.number]
    assert study.ask().number == 1


def test_a_trial_is_enqueued_once(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    connection.lose_reply()
    study.enqueue_trial({"x": 0.5})

    assert connection.lost_replies == 1
    assert [trial.state for trial in _stored(url).trials] == [TrialState.WAITING]
    assert study.ask().suggest_float("x", 0, 1) == 0.5


@pytest.mark.parametrize("enqueued", [False, True])
def test_a_servers_own_storage_creates_a_trial_of_its_client_once(enqueued: bool) -> None:
    class Server(RetryingStorage):
        replies = 0

        def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
            trial_id = super().create_new_trial(study_id, template_trial)
            self.replies += 1
            if self.replies == 1:
                raise ConnectionLostError("the reply was lost")
            return trial_id

    def keeping(storage: BaseStorage, kind: type[RetryingStorage]) -> RetryingStorage:
        return kind(storage, reopen=InMemoryStorage, close=lambda: None)

    client = keeping(keeping(InMemoryStorage(), Server), RetryingStorage)
    study = optuna.create_study(storage=client)
    if enqueued:
        study.enqueue_trial({"x": 0.5})
    else:
        assert study.ask().number == 0

    assert len(study.trials) == 1
    assert study.ask().number == (0 if enqueued else 1)


def test_a_suggested_and_a_reported_value_are_stored_once(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    trial = study.ask()
    connection.lose_reply()
    value = trial.suggest_float("x", 0, 1)
    connection.lose_reply()
    trial.report(0.25, 0)
    connection.lose_reply()
    trial.set_user_attr("note", "kept")

    stored = _stored(url).trials[0]
    assert connection.lost_replies == 3
    assert (stored.params, stored.intermediate_values) == ({"x": value}, {0: 0.25})
    assert stored.user_attrs == {"note": "kept"}


@pytest.mark.parametrize(
    ("state", "values"),
    [(TrialState.COMPLETE, [0.5]), (TrialState.PRUNED, None), (TrialState.FAIL, None)],
)
def test_a_trial_is_told_once(
    study: optuna.Study,
    url: str,
    connection: LossyConnection,
    state: TrialState,
    values: list[float] | None,
) -> None:
    trial = study.ask()
    connection.lose_reply()

    assert study._storage.set_trial_state_values(trial._trial_id, state, values)

    stored = _stored(url).trials[0]
    assert connection.lost_replies == 1
    assert (stored.state, stored.values) == (state, values)


def test_a_trial_that_is_given_back_is_not_taken_from_who_claims_it(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    trial = study.ask()
    # It reads the state before it sets it.
    connection.lose_reply(commits_before=1)
    assert study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    assert connection.lost_replies == 1
    assert _stored(url).ask().number == trial.number

    storage = study._storage
    assert isinstance(storage, RetryingStorage)
    claimed_before = trial.datetime_start
    assert storage._given_back(trial._trial_id, claimed_before)
    assert _stored(url).trials[0].state is TrialState.RUNNING


def test_a_claim_without_a_reply_is_nobodys(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    study.enqueue_trial({"x": 0.5})
    trial = study.get_trials()[0]
    connection.lose_reply()

    assert not study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    assert connection.lost_replies == 1
    assert _stored(url).trials[0].state is TrialState.RUNNING


def test_a_study_without_a_name_is_made_once(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    connection.lose_reply()
    study_id = study._storage.create_new_study([StudyDirection.MAXIMIZE])

    assert connection.lost_replies == 1
    names = optuna.get_all_study_names(open_storage(url))
    assert set(names) == {"lossy", study._storage.get_study_name_from_id(study_id)}


def test_a_study_is_deleted_once(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    connection.lose_reply()
    study._storage.delete_study(study._study_id)

    assert connection.lost_replies == 1
    assert optuna.get_all_study_names(open_storage(url)) == []


def test_a_copied_trial_stays_as_it_was_and_is_not_repeated(
    study: optuna.Study, url: str, connection: LossyConnection
) -> None:
    original = create_trial(value=0.5, system_attrs={"own": 1})
    study.add_trial(original)
    connection.lose_reply()
    with pytest.raises(StorageInternalError, match="The storage failed"):
        study.add_trial(original)

    assert [trial.system_attrs for trial in _stored(url).trials] == [{"own": 1}] * 2


def test_finished_trials_come_from_memory(study: optuna.Study, url: str) -> None:
    study.tell(study.ask(), 0.5)
    first = study.get_trials(deepcopy=False)

    assert study.get_trials(deepcopy=False)[0] is first[0]


def test_a_server_that_stays_away_is_given_up_with_its_message(
    caplog: pytest.LogCaptureFixture, postgresql_cluster: Cluster
) -> None:
    # A private server: the server shared by the tests must not stop.
    with private_cluster() as cluster:
        opened = open_storage(cluster.url)
        assert isinstance(opened, RetryingStorage)
        storage = RetryingStorage(
            opened.wrapped,
            reopen=partial(open_storage, cluster.url),
            close=lambda: None,
            patience_seconds=4,
        )
        cluster.stop()
        started = time.monotonic()
        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(StorageInternalError, match="refused"),
        ):
            storage.get_all_studies()

    assert 4 <= time.monotonic() - started < 30
    assert [record.message[:27] for record in caplog.records] == ["The storage does not answer"]


def test_what_the_database_refuses_is_not_repeated(study: optuna.Study) -> None:
    with pytest.raises(KeyError):
        study._storage.get_trial(999)
    started = time.monotonic()
    with pytest.raises(StorageInternalError):
        study._storage.set_study_user_attr(study._study_id, "k" * 1000, 1)
    assert time.monotonic() - started < 30
