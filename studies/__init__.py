"""Which experiment: a space, its data, metric, sampler, pruner and budget, one file a study."""

from pathlib import Path

# Study files from before there was a room for them import shipped studies as `studies.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))
