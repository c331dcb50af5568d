"""Experiments: a space, its data, metric, sampler, pruner and budget, one file per study."""

from pathlib import Path

# Older study files import shipped studies as `studies.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))
