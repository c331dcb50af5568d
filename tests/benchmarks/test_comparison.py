"""The parts of the end-to-end benchmark: images, plan, commands, curves, limits and peers."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest
import typer
from PIL import Image

from benchmarks.comparison.commands import judge_command, our_command, our_options, peer_command
from benchmarks.comparison.curve import StudyWatch, improvements, value_at
from benchmarks.comparison.machine import OthersUse, describe_machine
from benchmarks.comparison.measuring import measure
from benchmarks.comparison.peers.images import labelled, load_split
from benchmarks.comparison.peers.records import MODEL, WINNER, read_curve
from benchmarks.comparison.running import last_lines, run_limited
from benchmarks.comparison.thinning import thinned
from benchmarks.comparison.works import (
    METHODS,
    OURS,
    PEERS,
    WORKS,
    Job,
    find_work,
    planned,
    planned_quickly,
)
from search.storage import open_storage


def image_folder(folder: Path, *, a_class: int, size: tuple[int, int] = (12, 12)) -> Path:
    """Writes train/ and test/ of two classes, bright and dark; test has two images a class."""
    generator = np.random.default_rng(0)
    for role, count in (("train", a_class), ("test", 2)):
        for name, base in (("bright", 150), ("dark", 0)):
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(base, base + 100, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / role / name / f"{number:04}.png")
    return folder


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
    # Peers take no pretrained weights, and an hour each is for whoever asks for it.
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

    # A run may end within 10% of its time; the machine's speed is measured before.
    assert sum(job.work.minutes for job in jobs) * 1.1 + 1 <= 10
    assert {job.method for job in jobs} <= set(OURS)
    assert all(job.method in job.work.methods for job in jobs)


def test_every_method_is_ours_or_a_peer() -> None:
    assert {method for work in WORKS for method in work.methods} == set(METHODS)
    assert set(OURS) | set(PEERS) == set(METHODS)


@pytest.mark.parametrize("method", OURS)
def test_our_commands_use_options_that_exist(method: str, tmp_path: Path) -> None:
    from search.commands.run import run

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
    # Another study of the same run, whose trials report nothing.
    other = optuna.create_study(storage=open_storage(f"sqlite:///{database}"), study_name="two")
    other.tell(other.ask(), 0.9)
    running = other.ask()
    running.report(0.95, 1)

    seen, ended, without_reports = watch.curve(began)
    assert [seen[1], ended[1], without_reports[1]] == [0.5, 0.7, 0.9]
    # Nobody saw the report of the running trial: its time is not known.
    assert seen[0] >= 0 and seen[0] + 0.2 <= ended[0] <= without_reports[0]


def test_improvements_are_in_the_order_of_time() -> None:
    curve = improvements([(9.04, 0.8), (1.0, 0.3), (2.0, 0.2), (5.0, 0.30001), (5.0, 0.1)])

    assert curve == [(1.0, 0.3), (5.0, 0.3), (9.0, 0.8)]
    assert [value_at(curve, moment) for moment in (0.5, 8.0, 10.0)] == [None, 0.3, 0.8]


def test_a_command_ends_at_its_limit_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    looks: list[float] = []

    ended = run_limited(
        [sys.executable, "-c", script],
        seconds=3,
        log=log,
        look=lambda: looks.append(time.time()),
        look_every=0.5,
    )

    assert ended.exit_code is None
    assert 3 <= ended.seconds < 5
    assert looks
    child = int(log.read_text(encoding="utf-8"))
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_command_that_ends_itself_has_its_exit_code_and_log(tmp_path: Path) -> None:
    script = "import os; print('\\n'.join('abcdefg')); print(os.environ['GIVEN']); exit(3)"

    ended = run_limited(
        [sys.executable, "-c", script],
        seconds=60,
        log=tmp_path / "log.txt",
        environment={"GIVEN": "yes"},
    )

    assert ended.exit_code == 3
    assert last_lines(tmp_path / "log.txt", 3) == "f\ng\nyes"


def test_the_machine_says_how_busy_others_are(repository: Path) -> None:
    others = OthersUse()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)

    assert 0 <= others.share() <= 1
    assert describe_machine().keys() == {"processor", "cores", "bfloat16", "commit", "dirty"}


def test_peers_get_our_split_shrunk_to_64_pixels(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "source", a_class=8, size=(80, 100))
    split = load_split(str(source), seed=1)

    train = labelled(split.train)

    assert train.images.shape == (len(split.train), 51, 64, 3)
    assert train.images.dtype == np.uint8
    assert train.labels.tolist() == split.train.gather(slice(None))[1].tolist()
    # Shrinking averages: the classes stay what they are.
    means = train.images.mean(axis=(1, 2, 3))
    assert means[train.labels == 0] == pytest.approx(199.5, abs=3)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_leaves_its_best_model_to_be_judged(peer: str, tmp_path: Path) -> None:
    source = str(image_folder(tmp_path / "source", a_class=20))
    command = peer_command(peer, source=source, seed=0, folder=tmp_path)
    short = {"optuna": ["--trials", "2"], "keras_tuner": ["--iterations", "1"]}[peer]
    cache = {"CNN_SEARCH_CACHE": str(tmp_path / "cache")}

    searched = run_limited(
        [*command, *short, "--epochs", "2"],
        seconds=300,
        log=tmp_path / "log.txt",
        environment=cache,
    )
    assert searched.exit_code == 0, last_lines(tmp_path / "log.txt", 30)
    judged = run_limited(
        judge_command(source=source, seed=0, folder=tmp_path),
        seconds=300,
        log=tmp_path / "judge.txt",
        environment=cache,
    )
    assert judged.exit_code == 0, last_lines(tmp_path / "judge.txt", 30)

    curve = read_curve(tmp_path, searched.began)
    assert all(0 < seconds < searched.seconds for seconds, _ in curve)
    assert (tmp_path / MODEL).is_file()
    assert "learning_rate" in (tmp_path / WINNER).read_text(encoding="utf-8")
    assert '"images": 4' in (tmp_path / "test.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_of_ours_leaves_a_curve_and_a_test_accuracy(tmp_path: Path) -> None:
    job = Job(find_work("digits"), "quickstart", seed=0)

    measured = measure(job, source="digits", seconds=30, folder=tmp_path / "run")

    assert measured.test_images == 269
    assert measured.test_accuracy > 0.5
    assert measured.curve == improvements(measured.curve)
    assert measured.curve[-1][0] < measured.seconds
    expected = "python -m search.run --study quickstart --data digits --budget 30s --seed 0"
    assert measured.command == expected


@pytest.mark.slow
def test_the_speed_of_the_reference_network_is_measured() -> None:
    from benchmarks.comparison.speed import images_per_second

    assert images_per_second(steps=2, batch_size=8) > 0
