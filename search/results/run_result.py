"""What a finished run hands back: that of one training, and that of a whole study."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.progress.clock import Clock
from search.results.configuration_file import BestConfiguration
from spaces.candidate import Candidate

if TYPE_CHECKING:
    import keras
    import optuna

    from search.data import Split
    from search.results.evaluate import Evaluation


@dataclass(frozen=True, eq=False)
class RunOutput:
    """A finished run: the retrained model, its scores on the test images, and where it all is."""

    directory: Path
    configuration: BestConfiguration
    model: "keras.Model"
    evaluation: "Evaluation"
    metrics: dict[str, Any]
    data: str
    clock: Clock
    layout: str = "auto"


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a finished run leaves.

    `configuration` is the winner and where it comes from, as in best_config.json; `storage` is the
    URL of the storage of `study`, None if it has none; `artifacts` is the place of its artifacts.
    `output` is None if the winner was not retrained here.
    """

    study: "optuna.Study"
    configuration: BestConfiguration
    split: "Split"
    storage: str | None
    artifacts: str
    output: RunOutput | None

    @property
    def candidate(self) -> Candidate:
        """The winner."""
        return self.configuration.candidate

    @property
    def model(self) -> "keras.Model":
        """The retrained float32 model: uint8 RGB images in, class probabilities out."""
        return self._retrained.model

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds, the scores on the test images under "test"."""
        return self._retrained.metrics

    @property
    def directory(self) -> Path:
        """The folder with all files of the run."""
        return self._retrained.directory

    @property
    def _retrained(self) -> RunOutput:
        if self.output is None:
            raise ValueError(
                f"A run has a model where it retrained the winner; this one of "
                f"{self.study.study_name!r} did not retrain the winner. Run it without "
                f"retrain=False, once no other process retrains it."
            )
        return self.output
