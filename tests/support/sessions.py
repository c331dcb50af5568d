"""Experiments and sessions for tests that train nothing or replace the training."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import optuna

from search.data import DataSource, Split
from search.training.features.source import FeatureSource
from search.trials.experiment import Experiment, PortableStudy
from search.trials.session import Session
from studies.study import LoadedStudy, StudySpec, load_study


def make_experiment(**changes: Any) -> Experiment:
    """Returns an experiment on the digits; `spec` is its study, by default "quickstart"."""
    spec = changes.pop("spec", None) or load_study("quickstart").spec
    given: dict[str, Any] = {
        "study": PortableStudy(LoadedStudy(spec, None)),
        "study_name": "tiny",
        "storage": "sqlite://",
        "data": DataSource(location="digits"),
        "data_fingerprint": "",
        "metric": "accuracy",
        "seed": 0,
        "trials": 100,
        "checkpoints": Path("checkpoints"),
    }
    return Experiment(**{**given, **changes})


def make_session(
    study: optuna.Study,
    *,
    spec: StudySpec | None = None,
    split: Split | None = None,
    **changes: Any,
) -> Session:
    """Returns a session of an experiment; without `split` it has no images and no features."""
    experiment = make_experiment(
        spec=spec, **{name: changes.pop(name) for name in list(changes) if name in _OF_EXPERIMENT}
    )
    if split is not None:
        changes.setdefault("features", FeatureSource(split))
    return Session(
        experiment=experiment,
        spec=experiment.study.load(),
        study=study,
        split=cast(Split, split),
        **{"features": None, **changes},
    )


def changed(session: Session, **changes: Any) -> Session:
    """Returns a copy of a session with changed values, including those of its experiment."""
    experiment = session.experiment
    if "spec" in changes:
        experiment = replace(experiment, study=PortableStudy(LoadedStudy(changes["spec"], None)))
    of_experiment = {name: changes.pop(name) for name in list(changes) if name in _OF_EXPERIMENT}
    return replace(session, experiment=replace(experiment, **of_experiment), **changes)


_OF_EXPERIMENT = {field.name for field in fields(Experiment)} - {"study"}
