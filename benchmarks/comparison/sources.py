"""The image folders of each work, and the folder to which its runs write."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison.thinning import thinned
from benchmarks.comparison.works import Job

_TRAIN_PER_CLASS = 500
_VALIDATION_PER_CLASS = 200


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The image folders given by the user, and the folder to which everything is written."""

    cifar10: Path | None
    signs: Path | None
    backbone: Path | None
    folder: Path

    def missing(self, job: Job) -> str | None:
        """Returns the missing option that a job needs, if any."""
        if job.work.images in ("cifar10", "cifar10_5000") and self.cifar10 is None:
            return "--data-cifar10"
        if job.work.images == "signs" and self.signs is None:
            return "--data-signs"
        if job.work.backbone and self.backbone is None:
            return "--backbone"
        return None

    def prepare(self, job: Job) -> str:
        """Returns the value of --data for a job; creates the thinned folder if needed."""
        match job.work.images:
            case "digits":
                return "digits"
            case "signs":
                return _absolute(self.signs)
            case "cifar10":
                return _absolute(self.cifar10)
            case "cifar10_5000":
                folder = thinned(
                    Path(_absolute(self.cifar10)),
                    self.folder / "cifar10_5000",
                    train=_TRAIN_PER_CLASS,
                    validation=_VALIDATION_PER_CLASS,
                )
                return str(folder)

    def backbone_of(self, job: Job) -> Path | None:
        """Returns the pretrained backbone for a job, if it uses one."""
        return Path(_absolute(self.backbone)) if job.work.backbone else None

    def run_folder(self, job: Job) -> Path:
        """Returns the folder of a job's files."""
        return self.folder / "rows" / job.name


def _absolute(path: Path | None) -> str:
    assert path is not None
    # Commands run in the repository's root, whatever the user's current folder is.
    return str(path.expanduser().resolve())
