"""Fixtures for the tests of `search`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.pruners import MedianPruner

from cnn_blocks import registry
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Split
from search.sizing.machine_speed import MachineSpeed, MeasuredOn
from search.storage import open_storage, quiet_optuna
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from spaces.suggest import Trial
from studies.study import StudySpec
from tests.support.digits import digits_split


@pytest.fixture
def components_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unregisters a test's components at its end, because other tests check all components."""
    for role in registry.ROLES:
        known = registry.components(role)
        monkeypatch.setitem(registry._registered, role, dict(known))


@pytest.fixture
def saved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a checkpoint after every interval, even right after the previous one."""
    from search.training import callbacks

    monkeypatch.setattr(
        callbacks,
        "CheckpointAndReport",
        partial(callbacks.CheckpointAndReport, seconds_between=0.0),
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an empty SQLite storage."""
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    """A study in that storage; other processes open it by its name, "tiny"."""
    with quiet_optuna():
        yield optuna.create_study(
            storage=open_storage(url), study_name="tiny", direction="maximize"
        )


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """The digits, split like in the studies of these tests."""
    return digits_split(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tiny_study() -> StudySpec:
    """A study of one-stage networks that train in a second."""
    return StudySpec(
        name="tiny",
        description="Filters and dropout of one stage.",
        space=tiny_space,
        data="digits",
        trials=3,
        epochs=2,
        retrain_epochs=1,
        pruner=lambda first_rung: MedianPruner(n_startup_trials=1),
    )


def tiny_space(trial: Trial) -> Candidate:
    """Suggests filters and dropout."""
    backbone = staged(
        Plain(),
        filters=[trial.suggest_int("filters", 2, 8)],
        depth=1,
        reduction="max",
        place="first",
        dropout=[trial.suggest_float("dropout", 0.0, 0.5)],
    )
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=256, optimizer="adam"),
    )


@pytest.fixture
def timed_study(tiny_study: StudySpec) -> StudySpec:
    """The same study with lengths from the time plan."""
    return tiny_study.model_copy(update={"epochs": None, "retrain_epochs": None})


@pytest.fixture(scope="session")
def speed() -> MachineSpeed:
    """The speed of the machine on which the shipped coefficients were measured."""
    return MachineSpeed(
        measured_on=MeasuredOn(
            backend="tensorflow",
            policy="float32",
            compiled=False,
            threads=2,
            processor="a processor",
            device="cpu",
        )
    )
