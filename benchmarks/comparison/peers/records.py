"""The files that a peer's search and its evaluation write."""

import json
from pathlib import Path

from benchmarks.comparison.curve import Curve, improvements

MODEL = "best.keras"
CURVE = "curve.jsonl"
WINNER = "winner.txt"
VERDICT = "test.json"


def read_curve(folder: Path, began: float) -> Curve:
    """Returns the improvements as (seconds since `began`, best value so far)."""
    points = []
    for line in (folder / CURVE).read_text(encoding="utf-8").splitlines(keepends=True):
        # The search was killed, so its last line may be incomplete.
        if line.endswith("\n"):
            moment, value = json.loads(line)
            points.append((moment - began, value))
    return improvements(points)
