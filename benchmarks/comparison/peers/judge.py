"""Evaluates the best model of a peer's search on the test images.

    python -m benchmarks.comparison.peers.judge DATA FOLDER --seed 0

Writes the accuracy and the number of images to test.json in the folder.
"""

import json
from pathlib import Path

import keras
import typer

from benchmarks.comparison.peers.images import labelled, load_split
from benchmarks.comparison.peers.records import MODEL, VERDICT


def main(data: str, folder: Path, seed: int = 0) -> None:
    """Evaluates the model; opens the test images once."""
    test = labelled(load_split(data, seed).open_test("benchmark of a peer", lambda opening: None))
    model = keras.models.load_model(folder / MODEL)
    probabilities = model.predict(test.images, batch_size=256, verbose=0)
    verdict = {
        "accuracy": float((probabilities.argmax(axis=1) == test.labels).mean()),
        "images": len(test.labels),
    }
    (folder / VERDICT).write_text(json.dumps(verdict), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
