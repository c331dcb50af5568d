"""Searches heads on a frozen backbone whose features are computed once, on real images.

    python benchmarks/transfer_head.py path/to/cifar10 path/to/squeezenet_v11_imagenet.keras

It trains one head in the plain way, running the backbone in every epoch. Then it searches 50 heads
on the same backbone, including retraining, test and export. A smaller search repeats this with
random weights. Takes about ten minutes on 2 CPU cores. The result is written to
benchmarks/results/transfer_head.json.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from optuna.trial import FixedTrial

from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.pretrained import Pretrained
from search.data import DataSource, Split
from search.pipeline import load_split, run_study
from search.progress.choice import make_progress
from search.results.environment import environment_record
from search.results.run_result import RunResult
from search.storage import StudyAttribute, TrialAttribute
from search.system import runtime
from search.training import fit
from spaces.candidate import Candidate
from spaces.shipped.transfer_head import transfer_head
from spaces.suggest import Trial
from spaces.task import Task
from studies.study import StudySpec, load_study

RESULTS = Path(__file__).parent / "results"


def main(
    data: Annotated[Path, typer.Argument(help="CIFAR-10 as an image folder.")],
    backbone: Annotated[Path, typer.Argument(help="The .keras file of a pretrained backbone.")],
    input_size: int = 128,
    trials: int = 50,
    random_trials: int = 5,
    seed: int = 0,
) -> None:
    """Measures one plain training and a whole study, and stores the figures."""
    runtime.start_keras()
    spec = study_at(input_size, KerasFile.model_validate({"path": str(backbone)}))
    untrained = KerasFile.model_validate({"path": str(backbone), "weights": "none"})
    with tempfile.TemporaryDirectory() as folder:
        # A new cache, because features in an existing one would cost nothing.
        os.environ["CNN_SEARCH_CACHE"] = folder
        split = load_split(DataSource(location=data), seed=seed)
        plain = train_plainly(spec, split, seed)
        print(f"one plain training: {plain['seconds']} s", flush=True)
        searched = search(spec, data, Path(folder), trials=trials, seed=seed)
        beside = spec.model_copy(update={"name": "random_weights", "backbones": (untrained,)})
        random = search(beside, data, Path(folder), trials=random_trials, seed=seed)
        record = {
            "command": f"python benchmarks/transfer_head.py CIFAR10_FOLDER {backbone.name} "
            + " ".join(sys.argv[3:]),
            "input_size": input_size,
            "plain_training": plain,
            "study": describe(searched),
            "study_over_plain_training": round(
                searched.study.user_attrs[StudyAttribute.SEARCH_SECONDS] / plain["seconds"], 3
            ),
            "random_weights": describe(random),
            "environment": environment_of(split, seed),
        }
    path = RESULTS / "transfer_head.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(
        f"{path}: {trials} heads cost {record['study_over_plain_training']} plain trainings; "
        f"test accuracy {searched.metrics['test']['accuracy']:.4f}, with random weights "
        f"{random.metrics['test']['accuracy']:.4f}"
    )


class AtOneSize:
    """A trial with a fixed input size."""

    def __init__(self, trial: Trial, input_size: int) -> None:
        self._trial = trial
        self._input_size = input_size

    def suggest_int(self, name: str, *arguments: Any, **options: Any) -> int:
        """Suggests an integer."""
        if name == "input_size":
            return self._input_size
        return self._trial.suggest_int(name, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


def study_at(input_size: int, backbone: Pretrained) -> StudySpec:
    """Returns the shipped study at one input size, so that all candidates share one backbone."""
    spec = load_study("transfer_head").spec

    def space(trial: Trial, *, backbones: Sequence[Pretrained]) -> Candidate:
        return transfer_head(AtOneSize(trial, input_size), backbones=backbones)

    start = tuple(
        {name: value for name, value in given.items() if name != "input_size"}
        for given in spec.first_trials(Task())
    )
    return spec.model_copy(update={"space": space, "backbones": (backbone,), "start": start})


def train_plainly(spec: StudySpec, split: Split, seed: int) -> dict[str, Any]:
    """Trains the study's first candidate, running the backbone in every step."""
    candidate = spec.candidate(FixedTrial(dict(spec.first_trials(Task())[0])))
    result = fit(candidate, split.train, spec=split.spec, validation=split.validation, seed=seed)
    return {
        "candidate": candidate.summary(),
        "epochs": result.epochs_trained,
        "images": len(split.train),
        "seconds": round(result.seconds, 1),
        "images_per_second": round(result.images_per_second),
        "val_accuracy": result.history[-1]["val_accuracy"],
    }


def search(spec: StudySpec, data: Path, folder: Path, *, trials: int, seed: int) -> RunResult:
    """Runs a study including the export of its winner."""
    with make_progress() as progress:
        return run_study(
            spec,
            data=data,
            trials=trials,
            seed=seed,
            storage=f"sqlite:///{folder}/studies.db",
            places=folder / "runs",
            progress=progress,
        )


def describe(result: RunResult) -> dict[str, Any]:
    """Returns a study's figures."""
    metrics = result.metrics
    outcomes = [str(trial.user_attrs[TrialAttribute.OUTCOME]) for trial in result.study.trials]
    test = {key: value for key, value in metrics["test"].items() if key != "predictions"}
    return {
        "winner": result.candidate.summary(),
        "trials": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "search_seconds": round(result.study.user_attrs[StudyAttribute.SEARCH_SECONDS], 1),
        "search": metrics["search"],
        "retraining": metrics["retraining"],
        "test": test,
        "seconds_by_activity": metrics["seconds_by_activity"],
    }


def environment_of(split: Split, seed: int) -> dict[str, Any]:
    """Returns machine, versions and data."""
    environment = environment_record(split, seed=seed, compute=runtime.Compute())
    kept = ("processor", "processor_cores", "device", "dtype_policy", "xla", "versions", "git")
    return {key: environment[key] for key in kept} | {
        "data_fingerprint": split.dataset.fingerprint,
        "split_sha256": split.sha256,
    }


if __name__ == "__main__":
    typer.run(main)
