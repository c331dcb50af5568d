"""Searches small networks with one worker process and with the number that the measurement finds.

    python benchmarks/workers.py path/to/cifar10                         # filters 16-32-64
    python benchmarks/workers.py path/to/cifar10 --filters-growth 1      # filters 16-16-16
    python benchmarks/workers.py path/to/cifar10 --filters-growth 1 --image-size 16

It runs the same trials twice, with `--workers 1` and `--workers auto`, and compares the images
trained on per second of the search. Takes about a quarter of an hour on 2 CPU cores. The result is
written to benchmarks/results/workers_16_32_64_32x32.json, named after the filters and the image
size.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from search.data import DataSource, Split
from search.optimize.budget import Budget
from search.pipeline import load_split, run_study
from search.progress.events import Event, Note, Progress, SearchFinished
from search.results.environment import environment_record
from search.storage import StudyAttribute, TrialAttribute
from search.system.runtime import Compute
from spaces.candidate import Candidate
from spaces.shipped.depth_filters import depth_filters
from spaces.stages import growing_filters
from spaces.suggest import Trial
from spaces.task import Task
from studies.study import StudySpec, load_study

RESULTS = Path(__file__).parent / "results"
FIXED: dict[str, Any] = {
    "stages": 3,
    "filters": 16,
    "convolutions": 1,
    "stem_filters": 0,
    "kernel_size": 3,
    "activation": "relu",
    "dense_layers": 0,
}


def main(
    data: Annotated[Path, typer.Argument(help="CIFAR-10 as an image folder.")],
    trials: int = 12,
    epochs: int = 4,
    seed: int = 0,
    filters_growth: float = 2.0,
    image_size: int = 32,
) -> None:
    """Measures both, one after the other, and stores the figures."""
    fixed = {**FIXED, "filters_growth": filters_growth}
    spec = small_networks(trials, epochs, fixed)
    split = load_split(DataSource(location=data, image_size=image_size), seed=seed)
    counts: tuple[int | Literal["auto"], ...] = (1, "auto")
    runs = {str(workers): run(spec, data, split, workers=workers) for workers in counts}
    record = {
        "command": " ".join(["python benchmarks/workers.py CIFAR10_FOLDER", *sys.argv[2:]]),
        "space": fixed,
        "trials": trials,
        "epochs": epochs,
        "training_images": len(split.train),
        "image_size": image_size,
        "workers": runs,
        "auto_over_one": {
            figure: round(
                runs["auto"]["images_per_second"][figure] / runs["1"]["images_per_second"][figure],
                2,
            )
            for figure in runs["auto"]["images_per_second"]
        },
        "environment": environment_of(split),
    }
    filters = growing_filters(fixed["filters"], filters_growth, fixed["stages"])
    name = f"workers_{'_'.join(map(str, filters))}_{image_size}x{image_size}.json"
    path = RESULTS / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {json.dumps(record['auto_over_one'])}")


class Restricted:
    """A trial with fixed values for the parameters of a network's size."""

    def __init__(self, trial: Trial, fixed: Mapping[str, Any]) -> None:
        self._trial = trial
        self._fixed = fixed

    def __getattr__(self, name: str) -> Callable[..., Any]:
        suggest: Callable[..., Any] = getattr(self._trial, name)

        def answer(parameter: str, *arguments: Any, **options: Any) -> Any:
            if parameter in self._fixed:
                return self._fixed[parameter]
            return suggest(parameter, *arguments, **options)

        return answer


def small_space(trial: Trial, *, fixed: Mapping[str, Any]) -> Candidate:
    """Suggests a candidate of `depth_filters` whose network has a fixed size."""
    return depth_filters(Restricted(trial, fixed))


def small_networks(trials: int, epochs: int, fixed: Mapping[str, Any]) -> StudySpec:
    """Returns the shipped study restricted to small networks, without pruning."""
    spec = load_study("depth_filters").spec
    start = tuple(
        {name: value for name, value in given.items() if name not in fixed}
        for given in spec.first_trials(Task())
    )
    return spec.model_copy(
        update={
            "space": partial(small_space, fixed=fixed),
            "start": start,
            "trials": trials,
            "epochs": epochs,
            "budget_seconds": None,
            # Both runs train the same candidates, because this sampler's draws depend only on the
            # seed and the trial's number.
            "sampler": lambda seed: RandomSampler(seed=seed),
            "pruner": lambda first_rung: NopPruner(),
        }
    )


class Moments(Progress):
    """Records notes, and when the search began and ended."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.called = time.perf_counter()
        self.finished = 0.0

    def handle(self, event: Event) -> None:
        match event:
            case SearchFinished():
                self.finished = time.perf_counter()
            case Note(text):
                self.notes.append(text)
                print(text, flush=True)


def run(
    spec: StudySpec, data: Path, split: Split, *, workers: int | Literal["auto"]
) -> dict[str, Any]:
    """Runs the study in an empty folder and returns its figures."""
    moments = Moments()
    with tempfile.TemporaryDirectory() as folder:
        result = run_study(
            spec,
            data=DataSource(location=data, image_size=split.spec.image_shape[0]),
            seed=split.seed,
            storage=f"sqlite:///{folder}/studies.db",
            budget=Budget(retraining_epochs=1),
            places=Path(folder) / "runs",
            workers=workers,
            progress=moments,
        )
        trials = result.study.trials
        whole = moments.finished - moments.called
    epochs = sum(trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0) for trial in trials)
    search = result.study.user_attrs[StudyAttribute.SEARCH_SECONDS]
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    seconds = {
        "search": search,
        "search_without_start": (max(ends) - min(starts)).total_seconds(),
        "search_with_measurement": whole,
    }
    print(f"--workers {workers}: {epochs:g} epochs in {search:.0f} s", flush=True)
    return {
        "epochs_trained": epochs,
        "trials": sorted(trial.user_attrs[TrialAttribute.SUMMARY] for trial in trials),
        "notes": moments.notes,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "images_per_second": {
            name: round(epochs * len(split.train) / value) for name, value in seconds.items()
        },
    }


def environment_of(split: Split) -> dict[str, Any]:
    """Returns machine, versions and data."""
    environment = environment_record(split, seed=split.seed, compute=Compute())
    kept = ("processor", "processor_cores", "device", "versions", "git")
    return {key: environment[key] for key in kept} | {
        "data_fingerprint": split.dataset.fingerprint,
        "split_sha256": split.sha256,
    }


if __name__ == "__main__":
    typer.run(main)
