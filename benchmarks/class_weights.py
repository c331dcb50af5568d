"""Measures the effect of class weights on a small network with imbalanced classes.

    python -m benchmarks.class_weights path/to/cifar10

Each set is CIFAR-10 with thinned classes: two classes at 95 to 5, or ten classes whose sizes fall
geometrically, the largest ten or fifty times the smallest. Every training has the same number of
steps. Networks are evaluated on validation images, thinned in the same proportion; test images are
not used. Rows are written to benchmarks/results/class_weights.json, where a new row replaces an
older one with the same key.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.kept_rows import keep_row
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Subset, load_data, split_data
from search.results.evaluate import predict
from search.training.fit import fit
from search.training.metrics import classification_metrics, ranking_metrics
from spaces.candidate import Candidate
from spaces.reference import reference_training
from spaces.stages import staged
from spaces.task import Task

RESULTS = Path(__file__).parent / "results" / "class_weights.json"
_KEY = ("set", "weights", "seed", "steps")

# The size of each class relative to the largest; 0 leaves a class out.
SETS: dict[str, npt.NDArray[np.float64]] = {
    "95:5": np.array([0, 0, 0, 1, 0, 5 / 95, 0, 0, 0, 0]),
    "1:10": 10.0 ** -np.linspace(0, 1, 10),
    "1:50": 50.0 ** -np.linspace(0, 1, 10),
}
_VALIDATION_IMAGES = 750  # of the largest class
WEIGHTS = ("none", "square_root", "balanced")


def main(
    data: Annotated[str, typer.Argument(help="CIFAR-10, as a folder or by name.")],
    steps: int = 600,
    largest: Annotated[int, typer.Option(help="Training images of the largest class.")] = 2000,
    seeds: int = 3,
    only: Annotated[str, typer.Option(help="Names of sets, separated by commas.")] = "",
) -> None:
    """Trains with each kind of weights on each set, and writes a row for each."""
    for seed in range(seeds):
        split = split_data(load_data(data), seed=seed)
        for name in only.split(",") if only else SETS:
            train = thin(split.train, SETS[name], largest=largest, seed=seed)
            held_out = thin(split.validation, SETS[name], largest=_VALIDATION_IMAGES, seed=seed)
            for weights in WEIGHTS:
                row = {"set": name, "weights": weights, "seed": seed, "steps": steps}
                candidate = small_network(len(train), steps=steps, class_weights=weights)
                result = fit(candidate, train, spec=split.spec, seed=seed, intervals=1)
                probabilities, labels = predict(result.model, held_out)
                metrics = classification_metrics(probabilities, labels)
                metrics |= ranking_metrics(probabilities, labels)
                row |= {metric: round(value, 4) for metric, value in metrics.items()}
                keep_row(RESULTS, row, key=_KEY)


def thin(subset: Subset, kept: npt.NDArray[np.float64], *, largest: int, seed: int) -> Subset:
    """Returns a subset with at most `largest` x `kept` images of each class, drawn at random."""
    labels = subset.labels[subset.indices]
    random = np.random.default_rng(seed)
    rows = [
        random.permutation(np.flatnonzero(labels == number))[: round(largest * part)]
        for number, part in enumerate(kept)
    ]
    return replace(subset, indices=np.sort(subset.indices[np.concatenate(rows)]))


def small_network(images: int, *, steps: int, class_weights: str) -> Candidate:
    """Returns a network of 16, 32 and 64 filters with the shipped studies' training settings."""
    backbone = staged(
        Plain(activation="relu"),
        filters=[16, 32, 64],
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.0, 0.0, 0.0],
    )
    training = reference_training(Task(images=images), steps=steps, class_weights=class_weights)
    return Candidate(model=ModelConfig(backbone=backbone, head=Pooled()), training=training)


if __name__ == "__main__":
    typer.run(main)
