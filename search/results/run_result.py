"""The results of a finished training and of a whole run."""

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
    """A finished training: the model, its scores on the test images, and its folder."""

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
    """The result of a finished run.

    `configuration` is the winner and its origin, as in best_config.json; `storage` is the URL of
    the storage of `study`, None if it has none; `artifacts` is the location of its artifacts.
    `output` is None if this process did not retrain the winner.
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
        """The retrained float32 model; it maps uint8 RGB images to class probabilities."""
        return self._retrained.model

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json, with the scores on the test images under "test"."""
        return self._retrained.metrics

    @property
    def directory(self) -> Path:
        """The folder with all files of the run."""
        return self._retrained.directory

    @property
    def _retrained(self) -> RunOutput:
        if self.output is None:
            raise ValueError(
                f"A run must retrain the winner to have a model; this run of "
                f"{self.study.study_name!r} did not. Fix: run it without retrain=False, after "
                f"any other process has finished retraining it."
            )
        return self.output
