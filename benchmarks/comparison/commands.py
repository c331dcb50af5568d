"""The command lines of our methods and of the peers."""

import sys
from collections.abc import Sequence
from pathlib import Path

# What each method adds to `python -m search.run --data DATA --budget TIME --seed S`.
METHOD_OPTIONS: dict[str, Sequence[str]] = {
    "auto": (),
    "depth_filters": ("--study", "depth_filters"),
    "quickstart": ("--study", "quickstart"),
    # The first candidate of `auto`, trained for the whole time.
    "default": ("--trials", "1"),
}


def our_options(method: str, *, source: str, seconds: float, seed: int) -> list[str]:
    """Returns the options that determine the result; `seconds` is the whole time budget."""
    options = ["--data", source, "--budget", f"{seconds:.0f}s", "--seed", str(seed)]
    return [*METHOD_OPTIONS[method], *options]


def our_command(options: Sequence[str], *, folder: Path, backbone: Path | None) -> list[str]:
    """Returns the command that writes everything into `folder`.

    Without a `backbone` the study `auto` uses no pretrained networks, even if some are available.
    """
    command = [sys.executable, "-m", "search.run", *options]
    if backbone is not None:
        command += ["--backbone", str(backbone)]
    elif "--study" not in options:
        command += ["--backbone", "none"]
    return [
        *command,
        "--runs-directory",
        str(folder / "runs"),
        "--storage",
        f"sqlite:///{database(folder)}",
    ]


def peer_command(peer: str, *, source: str, seed: int, folder: Path) -> list[str]:
    """Returns the command of a peer's search, which runs until it is killed."""
    module = f"benchmarks.comparison.peers.{peer}_search"
    return [sys.executable, "-m", module, source, str(folder), "--seed", str(seed)]


def judge_command(*, source: str, seed: int, folder: Path) -> list[str]:
    """Returns the command that evaluates a peer's best model on the test images."""
    module = "benchmarks.comparison.peers.judge"
    return [sys.executable, "-m", module, source, str(folder), "--seed", str(seed)]


def database(folder: Path) -> Path:
    """Returns the path of our command's database."""
    return folder / "studies.db"
