"""Real small runs that the report's tests subset, and pages read back."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial

import search
from search.data import DataSource
from search.results.run_result import RunResult
from search.storage import StudyAttribute, TrialAttribute
from search.storage.attributes import set_study_attribute
from studies.study import StudySpec
from tests.search.conftest import tiny_space
from tests.support.attributes import stored_on
from tests.support.page import Page, read_page

HOSTILE = ("<script>alert(1)</script>", "=cmd()", "\x1b[31mred", "a|b *c* [d](http://e.example)")


def tiny(**changes: object) -> StudySpec:
    """Returns a study whose networks train in a second."""
    settings = {
        "name": "tiny",
        "description": "Filters and dropout of one stage.",
        "space": tiny_space,
        "data": "digits",
        "trials": 3,
        "epochs": 2,
        "retrain_epochs": 2,
        "pruner": lambda first_rung: MedianPruner(n_startup_trials=1),
        **changes,
    }
    return StudySpec(**settings)


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunResult]:
    """Returns what runs a tiny study in a folder of its own."""

    def run(spec: StudySpec, **options: object) -> RunResult:
        folder = tmp_path_factory.mktemp("runs")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CNN_SEARCH_CACHE", str(tmp_path_factory.getbasetemp() / "image_cache"))
            return search.run_study(spec, places=folder, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="session")
def finished(run_of: Callable[..., RunResult]) -> RunResult:
    """A study of digits with its finished run."""
    return run_of(tiny())


@pytest.fixture(scope="session")
def hostile(
    run_of: Callable[..., RunResult], tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    """A finished run on classes whose names are attacks."""
    folder = tmp_path_factory.mktemp("hostile")
    return run_of(tiny(data=None, trials=2), data=_images(folder, list(HOSTILE), each=12))


@pytest.fixture(scope="session")
def many_classes(
    run_of: Callable[..., RunResult], tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    """A finished run on 120 classes, which two epochs do not teach a tiny network."""
    names = [f"species number {number:03d}, a rather long name" for number in range(120)]
    folder = tmp_path_factory.mktemp("many")
    return run_of(tiny(data=None, trials=2), data=_images(folder, names, each=8))


def _images(folder: Path, names: list[str], *, each: int) -> DataSource:
    """Writes grey noise of a brightness for each class, with a table of labels."""
    from PIL import Image

    generator = np.random.default_rng(0)
    rows = ["file,label"]
    for label, name in enumerate(names):
        for number in range(each):
            pixels = generator.integers(0, 60, (12, 12, 3)) + 195 * label // len(names)
            file = f"{label}_{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / file)
            quoted = name.replace('"', '""')
            rows.append(f'{file},"{quoted}"')
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return replace(DataSource.of(folder), image_size=(12, 12))


@pytest.fixture
def unfinished(study: optuna.Study, finished: RunResult) -> optuna.Study:
    """A study in the middle: trials of every outcome, one that runs and one that waits."""
    for name, value in stored_on(finished.study).items():
        set_study_attribute(study._storage, study._study_id, name, value)
    for trial in finished.study.trials:
        if trial.state is TrialState.COMPLETE:
            study.add_trial(trial)
    template = finished.study.trials[0]
    summary: dict[str, Any] = {
        TrialAttribute.SUMMARY: "plain relu 8; average",
        TrialAttribute.SECONDS: 3.0,
    }
    for outcome, state, reason in (
        ("pruned", TrialState.PRUNED, "MedianPruner at epoch 1: accuracy 0.1"),
        ("infeasible", TrialState.PRUNED, "A candidate must be able to see each image"),
        ("failed", TrialState.FAIL, "ValueError: <b>broken</b>"),
        ("crashed", TrialState.FAIL, "its process died"),
    ):
        pruned = outcome == "pruned"
        study.add_trial(
            create_trial(
                state=state,
                value=0.1 if pruned else None,
                params=template.params,
                distributions=template.distributions,
                intermediate_values={1: 0.05, 2: 0.1} if pruned else {},
                user_attrs={
                    **summary,
                    TrialAttribute.OUTCOME: outcome,
                    TrialAttribute.REASON: reason,
                    TrialAttribute.EPOCHS_TRAINED: 2.0 if pruned else 0.0,
                },
            )
        )
    running = study.ask(template.distributions)
    running.report(0.3, 2)
    running.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 1.0)
    study.enqueue_trial({"filters": 4, "dropout": 0.25})
    assert StudyAttribute.TIME_PLAN in stored_on(study)
    return study


@pytest.fixture
def page_of(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Returns what writes a report and reads its page back."""
    from search.report.writing import write_report

    def write(study: optuna.Study | None, run: Path | None = None, **options: object) -> Page:
        to = write_report(study, run, to=tmp_path / "report.html", **options)  # type: ignore[arg-type]
        return read_page(to)

    yield write
