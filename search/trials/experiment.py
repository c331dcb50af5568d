"""What a search consists of, as data that can be sent to another process or machine."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source, source_texts
from search.data.source import DataSource
from search.sizing.time_plan import TimePlan
from search.system.runtime import Compute
from studies.study import LoadedStudy, StudySpec

if TYPE_CHECKING:
    from search.data import Split


class PortableStudy:
    """A study that can be pickled: functions of modules by name, those of a prompt by value.

    The study's file is imported before the study is unpickled, which is why that happens in `load`
    and not with the rest of the experiment. `texts` carries the file and the modules beside it to
    machines that may not have them.
    """

    def __init__(self, loaded: LoadedStudy) -> None:
        self._spec: StudySpec | None = loaded.spec
        self.source = loaded.source
        self.texts: Mapping[str, str] | None = None

    def with_texts(self) -> "PortableStudy":
        """Returns this study, with the text of its file."""
        assert self._spec is not None
        study = PortableStudy(LoadedStudy(self._spec, self.source))
        if self.source is not None and self.source.endswith(".py"):
            study.texts = source_texts(self.source)
        return study

    def load(self) -> StudySpec:
        """Returns the study; raises UserError where its modules cannot be imported."""
        if self._spec is None:
            try:
                if self.source is not None:
                    load_source(self.source, texts=self.texts)
                self._spec = cloudpickle.loads(self._pickled)
            except (ImportError, AttributeError) as error:
                raise UserError(
                    f"Workers must be able to import the modules that a study is made of; received "
                    f"an error: {error}. Fix: install the module where workers run, put its folder "
                    f"on PYTHONPATH, or use --workers 0."
                ) from error
            assert self._spec is not None
        return self._spec

    def __getstate__(self) -> dict[str, Any]:
        pickled = self._pickled if self._spec is None else cloudpickle.dumps(self._spec)
        return {"pickled": pickled, "source": self.source, "texts": self.texts}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._spec = None
        self._pickled: bytes = state["pickled"]
        self.source, self.texts = state["source"], state["texts"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A stored study to search, on which images and how.

    Attributes:
        study: What is searched.
        study_name: Its name in the storage.
        storage: The URL of the storage; None if it has none, and no worker can open it.
        data: Where the images are and how they are read.
        data_fingerprint: The fingerprint that they must have in every process.
        metric: What ranks the trials.
        seed: Seeds the split, the sampler and every training.
        trials: Finished trials in total, over all starts.
        plan: How the run divides its time.
        compute: Precision and XLA.
        checkpoints: The folder of the trials' checkpoints.
        artifacts: Where checkpoints are kept for other machines; None keeps them on this one.
        cache_limit: Bytes of the cache that features may take; None for the default.
    """

    study: PortableStudy
    study_name: str
    storage: str | None
    data: DataSource
    data_fingerprint: str
    metric: str
    seed: int
    trials: int
    checkpoints: Path
    plan: TimePlan = field(default_factory=TimePlan)
    compute: Compute = Compute()
    artifacts: str | None = None
    cache_limit: int | None = None

    @property
    def url(self) -> str:
        """The URL of the storage, for another process to open."""
        assert self.storage is not None, "only a storage with a URL can have workers"
        return self.storage

    def load_split(self) -> "Split":
        """Loads the images, from the cache where they are prepared already.

        Raises UserError where they are not those of the study.
        """
        from search.data import split_data

        dataset = self.data.load()
        if dataset.fingerprint != self.data_fingerprint:
            raise UserError(
                f"All workers must read the same images; {self.data.location} on "
                f"{socket.gethostname()} differs from the study's. Fix: restore it, or name a "
                f"folder with --data that all machines share."
            )
        return split_data(dataset, seed=self.seed)

    def with_compute(self, compute: Compute) -> "Experiment":
        """Returns this experiment with another way to compute."""
        return replace(self, compute=compute)
