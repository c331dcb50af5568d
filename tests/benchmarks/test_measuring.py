"""Measuring a row of the end-to-end benchmark: limits, the machine, peers, our own runs."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.comparison.commands import judge_command, peer_command
from benchmarks.comparison.curve import improvements
from benchmarks.comparison.machine import OthersUse, describe_machine
from benchmarks.comparison.measuring import measure
from benchmarks.comparison.peers.images import labelled, load_split
from benchmarks.comparison.peers.records import MODEL, WINNER, read_curve
from benchmarks.comparison.running import last_lines, run_limited
from benchmarks.comparison.works import PEERS, Job, find_work
from tests.support.tiny_images import image_folder


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


def test_an_interruption_ends_the_command(tmp_path: Path) -> None:
    def interrupt() -> None:
        if log.stat().st_size:
            raise KeyboardInterrupt

    log = tmp_path / "log.txt"
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"

    with pytest.raises(KeyboardInterrupt):
        run_limited(
            [sys.executable, "-c", script], seconds=60, log=log, look=interrupt, look_every=0.1
        )

    assert not _alive(int(log.read_text(encoding="utf-8")))


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
    # Downsizing averages pixels, so the classes keep their mean values.
    means = train.images.mean(axis=(1, 2, 3))
    assert means[train.labels == 0] == pytest.approx(199.5, abs=3)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_leaves_its_best_model_to_be_judged(peer: str, tmp_path: Path) -> None:
    # Four poolings need 16 pixels.
    source = str(image_folder(tmp_path / "source", a_class=20, size=(20, 20)))
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
