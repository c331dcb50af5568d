"""The parts of the scale benchmark: prefilling, running, counting and summarising."""

import time
from pathlib import Path

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks.scaling.cells import Plan, measure_cells, scaling
from benchmarks.scaling.growth import WindowSampler
from benchmarks.scaling.prefill import draw_trials, prefill
from benchmarks.scaling.storages import proxy, sqlite
from benchmarks.scaling.trial import REPORTS, CutError, Latencies, simulate
from search.storage import open_storage
from studies.shipped.depth_filters import study as spec
from tests.support.attributes import candidate_of
from tests.support.postgresql import Cluster


@pytest.fixture(scope="module")
def trials() -> list[FrozenTrial]:
    return draw_trials(3)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    return cluster.new_database()


def test_prefilled_trials_read_as_optuna_wrote_them(
    database: str, trials: list[FrozenTrial]
) -> None:
    prefill(database, "other", trials, 2)
    prefill(database, "study", trials, 5)

    study = optuna.load_study(study_name="study", storage=open_storage(database))
    stored = study.trials
    assert [trial.number for trial in stored] == [0, 1, 2, 3, 4]
    for trial, original in zip(stored, [*trials, *trials[:2]], strict=True):
        for field in ("state", "values", "params", "distributions", "user_attrs", "system_attrs"):
            assert getattr(trial, field) == getattr(original, field), field
        assert trial.intermediate_values == original.intermediate_values
    # The database continues numbering after the inserted rows.
    assert study.ask().number == 5


def test_a_simulated_trial_stores_a_whole_trial(database: str, trials: list[FrozenTrial]) -> None:
    prefill(database, "study", trials, 3)
    study = optuna.load_study(
        study_name="study", storage=open_storage(database), pruner=spec.make_pruner()
    )
    latencies = Latencies()

    simulate(study, latencies, give_up_at=time.perf_counter() + 60)

    last = study.trials[-1]
    assert (last.number, last.state) == (3, TrialState.COMPLETE)
    assert spec.candidate(optuna.trial.FixedTrial(last.params)).to_json() == candidate_of(last)
    counts = {name: len(seconds) for name, seconds in latencies.seconds.items()}
    assert counts == {
        "ask": 1,
        "suggest": 1,
        "report": len(last.intermediate_values),
        "prune": len(last.intermediate_values),
        "tell": 1,
        "attribute": 14,
    }


def test_a_simulated_trial_asks_the_pruner_as_a_real_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[optuna.Trial] = []
    monkeypatch.setattr("benchmarks.scaling.trial.should_prune", asked.append)

    simulate(optuna.create_study(), Latencies(), give_up_at=time.perf_counter() + 60)

    assert len(asked) == REPORTS


def test_a_trial_beyond_its_limit_is_ended(tmp_path: Path, trials: list[FrozenTrial]) -> None:
    database = f"sqlite:///{tmp_path}/studies.db"
    prefill(database, "study", trials, 3)
    study = optuna.load_study(study_name="study", storage=open_storage(database))

    with pytest.raises(CutError):
        simulate(study, Latencies(), give_up_at=time.perf_counter())

    assert study.trials[-1].state is TrialState.FAIL


@pytest.mark.parametrize(
    "through_proxy",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["sqlite", "proxy"],
)
def test_cells_count_what_their_workers_stored(
    trials: list[FrozenTrial], through_proxy: bool
) -> None:
    plan = Plan((1, 2), (3,), seconds=0.1, limit_seconds=60, deadline=time.monotonic() + 60)
    with sqlite() as plain:
        if through_proxy:
            with proxy(plain) as storage:
                cells = list(measure_cells(storage, plan, trials))
        else:
            cells = list(measure_cells(plain, plan, trials))
        opened = open_storage(plain.database)
        stored = [
            optuna.load_study(study_name=name, storage=opened).get_trials()
            for name in optuna.get_all_study_names(opened)
        ]

    assert [(cell["workers"], cell["sampler"]) for cell in cells] == [
        (1, "random"),
        (1, "tpe"),
        (2, "random"),
        (2, "tpe"),
    ]
    assert all(cell["errors"] == [] and cell["cut"] is None for cell in cells)
    assert all(cell["trials"] >= cell["workers"] for cell in cells)
    assert sorted(len(study) for study in stored) == sorted(3 + cell["trials"] for cell in cells)
    assert {trial.state for study in stored for trial in study[3:]} == {TrialState.COMPLETE}
    for cell in cells:
        assert cell["latency_ms"]["report"]["count"] == 4 * cell["trials"]


def test_cells_after_the_deadline_say_that_they_are_left_out(trials: list[FrozenTrial]) -> None:
    with sqlite() as storage:
        plan = Plan((1,), (3,), seconds=0.1, limit_seconds=60, deadline=time.monotonic() - 1)
        cells = list(measure_cells(storage, plan, trials))

    assert [cell["cut"] for cell in cells] == ["skipped: the benchmark's time was over"] * 2


def test_a_storage_scales_while_workers_are_half_as_good_as_alone() -> None:
    rates = {1: 8.0, 4: 20.0, 16: 40.0}
    cells = [
        {
            "storage": "sqlite",
            "prefilled": 100,
            "sampler": "tpe",
            "workers": workers,
            "trials_per_second": rate,
        }
        for workers, rate in rates.items()
    ]

    (row,) = scaling(cells)

    assert (row["scales_to"], row["most"], row["trials_per_second"]) == (4, 40.0, rates)


def test_a_window_as_long_as_the_study_changes_nothing() -> None:
    def search(sampler: optuna.samplers.BaseSampler) -> list[dict[str, float]]:
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=20)
        return [trial.params for trial in study.trials]

    plain = search(TPESampler(seed=1))
    assert search(WindowSampler(TPESampler(seed=1), trials=20)) == plain
    assert search(WindowSampler(TPESampler(seed=1), trials=3, best=2)) != plain
