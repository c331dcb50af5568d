"""A storage that survives a restart of its server."""

import copy
import logging
import random
import time
import uuid
import weakref
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.connections import ConnectionLostError, lost_connection

PATIENCE_SECONDS = 120.0
# Shorter outages are not reported.
_QUIET_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_STUDY_NAME_PREFIX = "no-name-"
# The system attribute that identifies a trial if the reply to its creation was lost.
CREATION = "creation"

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class RetryingStorage(BaseStorage):
    """Delegates to a storage, and retries operations that fail because the server is unreachable.

    Retries for `patience_seconds` after the first failure of an operation, with growing pauses;
    then raises StorageInternalError. If a reply was lost, the operation may have been carried out,
    so a retry checks that first: the comments say why each retry is safe. `storage` includes
    Optuna's own trial cache, which stays in use; `reopen` opens the storage again in a process
    that unpickles this object.
    """

    def __init__(
        self,
        storage: BaseStorage,
        *,
        reopen: Callable[[], BaseStorage],
        close: Callable[[], None],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.wrapped = storage
        self._reopen = reopen
        self._patience_seconds = patience_seconds
        # Drivers warn about connections that are never closed.
        weakref.finalize(self, close)

    def __reduce__(self) -> tuple[Callable[[], BaseStorage], tuple[()]]:
        return self._reopen, ()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Creates a study, with a generated name if none is given."""
        # If the reply is lost, the retry reports a duplicate name, which load_if_exists handles.
        # No attribute tells which process created the study.
        if study_name is not None:
            return self._repeat(lambda: self.wrapped.create_new_study(directions, study_name))
        name = f"{_STUDY_NAME_PREFIX}{uuid.uuid4()}"

        def look_first() -> int:
            try:
                return self.wrapped.get_study_id_from_name(name)
            except KeyError:
                return self.wrapped.create_new_study(directions, name)

        return self._repeat(lambda: self.wrapped.create_new_study(directions, name), look_first)

    def delete_study(self, study_id: int) -> None:
        """Deletes a study."""

        def look_first() -> None:
            try:
                self.wrapped.delete_study(study_id)
            except KeyError:
                _log.debug("The study had been deleted, although the reply was lost.")

        self._repeat(lambda: self.wrapped.delete_study(study_id), look_first)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a study."""
        self._repeat(lambda: self.wrapped.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a study."""
        self._repeat(lambda: self.wrapped.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Returns a study's id; raises KeyError for an unknown name."""
        return self._repeat(lambda: self.wrapped.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Returns a study's name; raises KeyError for an unknown id."""
        return self._repeat(lambda: self.wrapped.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Returns the directions of a study's objectives."""
        return self._repeat(lambda: self.wrapped.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes of a study."""
        return self._repeat(lambda: self.wrapped.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes of a study."""
        return self._repeat(lambda: self.wrapped.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """Returns all studies."""
        return self._repeat(self.wrapped.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Creates a trial and returns its id."""
        if template_trial is not None and template_trial.state.is_finished():
            # A copied study is compared with its original, so a copied trial must not carry an
            # extra attribute to recognise it by. A failed copy starts again.
            return self._once(lambda: self.wrapped.create_new_trial(study_id, template_trial))
        template, creation = _recognisable(template_trial)

        def look_first() -> int:
            for trial in reversed(self.wrapped.get_all_trials(study_id, deepcopy=False)):
                if trial.system_attrs.get(CREATION) == creation:
                    return trial._trial_id
            return self.wrapped.create_new_trial(study_id, template)

        return self._repeat(lambda: self.wrapped.create_new_trial(study_id, template), look_first)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Stores a suggested value."""

        # Safe to retry: the database rejects a second row for a parameter, and Optuna ignores that.
        def store() -> None:
            try:
                self.wrapped.set_trial_param(
                    trial_id, param_name, param_value_internal, distribution
                )
            except KeyError:
                # The cache of a server that started after the trial does not contain the trial yet.
                self.wrapped.get_trial(trial_id)
                for study in self.wrapped.get_all_studies():
                    self.wrapped.get_all_trials(study._study_id, deepcopy=False)
                self.wrapped.set_trial_param(
                    trial_id, param_name, param_value_internal, distribution
                )

        self._repeat(store)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Sets a trial's state; returns False if another process claimed the trial first."""

        def change() -> bool:
            return self.wrapped.set_trial_state_values(trial_id, state, values)

        if state is TrialState.RUNNING:
            # A claim whose reply was lost counts as another process's claim. A trial without a
            # worker is found by its missing lease; a trial with two workers would be trained twice.
            return self._repeat(change)
        if state is TrialState.WAITING:
            claimed = self.get_trial(trial_id).datetime_start
            return self._repeat(change, lambda: self._given_back(trial_id, claimed) or change())

        def look_first() -> bool:
            try:
                return change()
            except UpdateFinishedTrialError:
                # This process, or another one with the same result, has already finished the trial.
                stored = self.wrapped.get_trial(trial_id)
                told = None if values is None else list(values)
                if stored.state is state and (told is None or stored.values == told):
                    return True
                raise

        return self._repeat(change, look_first)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Stores a reported value."""
        # Safe to retry, like the attributes below: a retry writes the same value, and only one
        # process writes to a trial.
        self._repeat(
            lambda: self.wrapped.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a trial."""
        self._repeat(lambda: self.wrapped.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a trial."""
        self._repeat(lambda: self.wrapped.set_trial_system_attr(trial_id, key, value))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Returns a trial's id; raises KeyError for an unknown number."""
        return self._repeat(
            lambda: self.wrapped.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Returns a trial; raises KeyError for an unknown id."""
        return self._repeat(lambda: self.wrapped.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Returns a study's trials by number; finished ones come from this process's cache."""
        return self._repeat(lambda: self.wrapped.get_all_trials(study_id, deepcopy, states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Returns the best complete trial; raises ValueError if there is none."""
        return self._repeat(lambda: self.wrapped.get_best_trial(study_id))

    def _given_back(self, trial_id: int, claimed: datetime | None) -> bool:
        """Returns whether a trial is waiting again, or was claimed again since then."""
        stored = self.wrapped.get_trial(trial_id)
        return stored.state is TrialState.WAITING or stored.datetime_start != claimed

    def _once(self, operation: Callable[[], _Result]) -> _Result:
        return self._try(operation, operation, patience_seconds=0)

    def _repeat(
        self,
        operation: Callable[[], _Result],
        look_first: Callable[[], _Result] | None = None,
    ) -> _Result:
        return self._try(
            operation, look_first or operation, patience_seconds=self._patience_seconds
        )

    def _try(
        self,
        operation: Callable[[], _Result],
        again: Callable[[], _Result],
        *,
        patience_seconds: float,
    ) -> _Result:
        pause = _FIRST_PAUSE_SECONDS
        first_failure: float | None = None
        told = False
        while True:
            try:
                result = operation()
            except Exception as error:
                lost = lost_connection(error)
                if lost is None:
                    raise
                now = time.monotonic()
                first_failure = first_failure or now
                waited = now - first_failure
                if not lost.passing or waited >= patience_seconds:
                    # The caller reports the cause. gRPC's own error would be a page long.
                    cause = ConnectionLostError(lost.reason)
                    raise StorageInternalError(f"The storage failed: {cause}") from cause
                # Random pauses keep the workers of one server from reconnecting all at once.
                rest = min(pause * random.uniform(0.5, 1.5), patience_seconds - waited)
                if waited + rest > _QUIET_SECONDS and not told:
                    told = True
                    _log.warning(
                        "The storage does not answer; trying again for %.0f s: %s",
                        patience_seconds - waited,
                        lost.reason,
                    )
            else:
                if told and first_failure is not None:
                    seconds = time.monotonic() - first_failure
                    _log.warning("The storage answers again, after %.1f s.", seconds)
                return result
            time.sleep(rest)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            operation = again


def _recognisable(template: FrozenTrial | None) -> tuple[FrozenTrial, str]:
    """Returns a template with an identifying attribute, and the attribute's value.

    A server's storage keeps the value set by its client, which searches for it if a reply is lost.
    """
    marked = create_trial(state=TrialState.RUNNING) if template is None else copy.copy(template)
    creation = marked.system_attrs.get(CREATION) or uuid.uuid4().hex
    marked.system_attrs = {**marked.system_attrs, CREATION: creation}
    return marked, creation
