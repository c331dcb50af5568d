"""Where a run keeps its files."""

from dataclasses import dataclass
from pathlib import Path

from cnn_blocks.paths import user_path


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a run keeps its files, and how much of the cache it may use.

    Attributes:
        runs_directory: The folder in which every study gets a folder of its own, and the database
            of studies without another storage.
        artifacts: A folder or s3://BUCKET/PREFIX for the results and, because all machines can
            reach it, the checkpoints; None keeps results in `artifacts` of the runs directory and
            checkpoints on this machine only.
        cache_limit: Bytes of the cache that features of frozen backbones may take; None for
            20 GiB, 0 to keep none.
    """

    runs_directory: str | Path = "runs"
    artifacts: str | None = None
    cache_limit: int | None = None

    @classmethod
    def of(cls, places: "Places | str | Path") -> "Places":
        """Returns places; a bare path is the runs directory."""
        return places if isinstance(places, Places) else cls(runs_directory=places)

    @property
    def runs(self) -> Path:
        """The runs directory, with ~ expanded."""
        return user_path(self.runs_directory)
