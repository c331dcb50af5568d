"""The parts of the end-to-end benchmark without measurements: images, plan, commands, curves."""

import time
from pathlib import Path

import optuna
import pytest
import typer

from benchmarks.comparison.commands import our_command, our_options
from benchmarks.comparison.curve import StudyWatch, improvements, value_at
from benchmarks.comparison.peers.images import load_split
from benchmarks.comparison.thinning import thinned
from benchmarks.comparison.works import METHODS, OURS, PEERS, WORKS, planned, planned_quickly
from search.storage import open_storage
from tests.support.tiny_images import image_folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.png")}


def test_a_thinned_folder_has_the_same_images_for_everybody(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "source", a_class=10)

    first = thinned(source, tmp_path / "first", train=4, validation=3)
    second = thinned(source, tmp_path / "second", train=4, validation=3)

    assert names(first) == names(second)
    split = load_split(str(first), seed=0)
    assert [len(split.train), len(split.validation)] == [8, 6]
    assert names(first / "test") == names(source / "test")
    train, validation = names(first / "train"), names(first / "val")
    assert train.isdisjoint(validation)
    assert train | validation < names(source / "train")


def test_a_thinned_folder_is_made_once_and_whole(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "source", a_class=5)
    with pytest.raises(ValueError, match="needs 6 training images"):
        thinned(source, tmp_path / "thin", train=4, validation=2)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]

    thinned(source, tmp_path / "thin", train=2, validation=2)
    before = names(tmp_path / "thin")
    assert names(thinned(source, tmp_path / "thin", train=1, validation=1)) == before


def test_the_plan_has_every_work_with_its_own_methods_and_seeds() -> None:
    jobs = list(planned())

    assert len({job.key for job in jobs}) == len(jobs)
    assert {job.work.name for job in jobs} == {work.name for work in WORKS if not work.quick}
    seeds = [job.seed for job in jobs if job.key[:2] == ("cifar10_5000", "default")]
    assert seeds == [0, 1, 2, 3, 4]
    # Peers use no pretrained weights, and run on all images only if requested, for hours.
    assert {job.method for job in jobs if job.work.backbone} == {"auto"}
    assert [job.key for job in jobs if job.work.name == "cifar10_all"] == [
        ("cifar10_all", "auto", 0)
    ]


def test_the_plan_takes_what_is_asked_for() -> None:
    jobs = planned(works=["cifar10_all", "digits"], methods=["optuna", "auto"], seeds=[7])

    assert [job.key for job in jobs] == [
        ("cifar10_all", "auto", 7),
        ("cifar10_all", "optuna", 7),
        ("digits", "optuna", 7),
    ]
    with pytest.raises(KeyError, match="digit"):
        list(planned(works=["digit"]))
    with pytest.raises(KeyError, match="digit"):
        list(planned(methods=["digit"]))


def test_the_quick_form_takes_at_most_ten_minutes() -> None:
    jobs = list(planned_quickly())

    # A run may take 10% more than its time; the machine's speed is measured first.
    assert sum(job.work.minutes for job in jobs) * 1.1 + 1 <= 10
    assert {job.method for job in jobs} <= set(OURS)
    assert all(job.method in job.work.methods for job in jobs)


def test_every_method_is_ours_or_a_peer() -> None:
    assert {method for work in WORKS for method in work.methods} == set(METHODS)
    assert set(OURS) | set(PEERS) == set(METHODS)


@pytest.mark.parametrize("method", OURS)
def test_our_commands_use_options_that_exist(method: str, tmp_path: Path) -> None:
    from search.cli.run import run

    application = typer.Typer()
    application.command()(run)
    known = {name for option in typer.main.get_command(application).params for name in option.opts}
    options = our_options(method, source="images", seconds=480, seed=3)
    command = our_command(options, folder=tmp_path, backbone=tmp_path / "network.keras")

    assert {word for word in command if word.startswith("--")} <= known
    assert command[command.index("--budget") + 1] == "480s"


def test_a_curve_counts_reports_when_they_were_seen(tmp_path: Path) -> None:
    database = tmp_path / "studies.db"
    watch = StudyWatch(database)
    watch.look()  # There is no database yet.
    began = time.time()
    study = optuna.create_study(storage=open_storage(f"sqlite:///{database}"), study_name="one")
    pruned = study.ask()
    pruned.report(0.5, 1)
    watch.look()
    time.sleep(0.3)
    pruned.report(0.4, 2)
    pruned.report(0.7, 3)
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    # Another study in the same database whose trials report nothing.
    other = optuna.create_study(storage=open_storage(f"sqlite:///{database}"), study_name="two")
    other.tell(other.ask(), 0.9)
    running = other.ask()
    running.report(0.95, 1)

    seen, ended, without_reports = watch.curve(began)
    assert [seen[1], ended[1], without_reports[1]] == [0.5, 0.7, 0.9]
    # The report of the running trial was not seen, so its time is unknown.
    assert seen[0] >= 0 and seen[0] + 0.2 <= ended[0] <= without_reports[0]


def test_improvements_are_in_the_order_of_time() -> None:
    curve = improvements([(9.04, 0.8), (1.0, 0.3), (2.0, 0.2), (5.0, 0.30001), (5.0, 0.1)])

    assert curve == [(1.0, 0.3), (5.0, 0.3), (9.0, 0.8)]
    assert [value_at(curve, moment) for moment in (0.5, 8.0, 10.0)] == [None, 0.3, 0.8]
