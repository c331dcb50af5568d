"""Pruners compare a candidate with several attempts only once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.trial import FrozenTrial

from search.storage import open_storage, quiet_optuna
from search.trials.attempts import continue_later
from search.trials.outcomes import Outcome
from search.trials.pruning import should_prune
from studies.study import successive_halving_pruner


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[Callable[[BasePruner], optuna.Study]]:
    def make(pruner: BasePruner) -> optuna.Study:
        return optuna.create_study(
            storage=open_storage(f"sqlite:///{tmp_path / 'studies.db'}"),
            study_name="tiny",
            direction="maximize",
            pruner=pruner,
        )

    with quiet_optuna():
        yield make


def report(study: optuna.Study, value: float) -> optuna.Trial:
    trial = study.ask()
    trial.report(value, 1)
    return trial


def interrupt(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    """Returns the trial that continues an interrupted one."""
    stored = study.get_trials(deepcopy=False)[trial.number]
    continue_later(study, stored, Outcome.INTERRUPTED, "interrupted")
    return study.ask()


@pytest.mark.parametrize(
    "pruner",
    [
        successive_halving_pruner(1),
        HyperbandPruner(min_resource=1, max_resource=1, reduction_factor=2),
    ],
    ids=lambda pruner: type(pruner).__name__,
)
def test_an_interrupted_candidate_displaces_no_other(
    make_study: Callable[[BasePruner], optuna.Study], pruner: BasePruner
) -> None:
    study = make_study(pruner)
    best = report(study, 0.9)
    assert not should_prune(best)
    for _ in range(2):
        best = interrupt(study, best)
    for value in (0.2, 0.1):
        assert should_prune(report(study, value))

    # Of four candidates the better half continues.
    assert not should_prune(report(study, 0.5))
    assert should_prune(report(study, 0.4))


def test_a_custom_pruner_sees_a_study(
    make_study: Callable[[BasePruner], optuna.Study],
) -> None:
    seen: list[object] = []

    class Own(BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            study.set_user_attr("asked", trial.number)
            seen.extend([study.study_name, study.pruner is self, study.best_value])
            seen.append([other.number for other in study.trials])
            return trial.intermediate_values == {1: 0.5}

    study = make_study(Own())
    study.tell(study.ask(), 0.7)
    interrupt(study, report(study, 0.9))

    assert should_prune(report(study, 0.5))
    assert seen == ["tiny", True, 0.7, [0, 2, 3]]
    assert study.user_attrs == {"asked": 3}
    assert len(study.trials) == 4
