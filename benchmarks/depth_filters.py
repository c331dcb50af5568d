"""The main use case on real images: search, retrain, evaluate once, and record the result.

    python benchmarks/depth_filters.py path/to/cifar10        # or: make bench DATA=path/to/cifar10

Takes about an hour on 2 CPU cores. The result is written to benchmarks/results/depth_filters.json.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path(__file__).parent / "results"


def main(
    data: Annotated[Path, typer.Argument(help="CIFAR-10 as an image folder.")],
    budget: str = "63m",
    seed: int = 0,
    study: str = "depth_filters",
    keep: Annotated[Path | None, typer.Option(help="A folder for the run's files.")] = None,
) -> None:
    """Runs the command in an empty folder, as a user would, and stores its figures."""
    options = ["--study", study, "--budget", budget, "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "search.run", "--data", str(data), *options]
        command += ["--runs-directory", runs, "--storage", f"sqlite:///{runs}/studies.db"]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - began
        directory = max(Path(runs).glob(f"{study}/*/metrics.json")).parent
        record = _record(directory)
        if keep is not None:
            shutil.copytree(directory, keep, dirs_exist_ok=True)
    record |= {
        "command": " ".join(["python -m search.run --data CIFAR10_FOLDER", *options]),
        "seconds": round(seconds),
    }
    path = RESULTS / f"{study}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: test accuracy {record['test']['accuracy']:.4f}")


def _record(directory: Path) -> dict[str, Any]:
    metrics, environment, best = (
        json.loads((directory / name).read_text(encoding="utf-8"))
        for name in ("metrics.json", "environment.json", "best_config.json")
    )
    kept = ("processor", "processor_cores", "device", "dtype_policy", "xla", "versions", "git")
    return {
        "candidate": best["candidate"],
        "trial": metrics["trial"],
        "search": metrics["search"],
        "retraining": metrics["retraining"],
        "test": {key: value for key, value in metrics["test"].items() if key != "predictions"},
        "seconds_by_activity": metrics["seconds_by_activity"],
        "environment": {key: environment[key] for key in kept},
        "data_fingerprint": environment["data"]["fingerprint"],
        "split_sha256": environment["split"]["sha256"],
    }


if __name__ == "__main__":
    typer.run(main)
