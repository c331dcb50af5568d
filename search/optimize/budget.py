"""The limits that a user sets for a run: time, trials, and the length of the final training."""

from dataclasses import dataclass, replace

from cnn_blocks.errors import UserError
from search.sizing.time_plan import DEFAULT_BUDGET_SECONDS
from studies.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run may take; None leaves a limit to the study and the time plan.

    Attributes:
        seconds: Wall-clock seconds of the whole run: search, final training, test and files.
        trials: Number of finished trials, over all starts of the study. Without `seconds` it alone
            ends the search.
        retrain: Whether to retrain the winner; otherwise the search gets all of the time.
        retraining_seconds: Wall-clock seconds of the final training, included in `seconds`.
        retraining_epochs: Epochs of the final training.

    Raises UserError for a number that is not positive.
    """

    seconds: float | None = None
    trials: int | None = None
    retrain: bool = True
    retraining_seconds: float | None = None
    retraining_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and self.trials < 1:
            raise UserError(
                f"A search needs at least one trial; received trials={self.trials}. Fix: ask for "
                f"1 or more."
            )
        for name in ("seconds", "retraining_seconds", "retraining_epochs"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(
                    f"A budget must be positive; received {name}={value}. Fix: use a number above "
                    f"0, or leave it out."
                )

    @classmethod
    def of(cls, budget: "Budget | float | None", *, trials: int | None = None) -> "Budget":
        """Returns a budget; a bare number means seconds for the whole run."""
        if not isinstance(budget, Budget):
            return cls(seconds=budget, trials=trials)
        return budget if trials is None else replace(budget, trials=trials)

    def seconds_for(self, spec: StudySpec) -> float | None:
        """Returns the seconds for the whole run of a study; None for no limit."""
        if self.seconds is not None:
            return self.seconds
        if self.trials is not None:
            return None
        fixed = spec.epochs is not None
        return spec.budget_seconds or (None if fixed else DEFAULT_BUDGET_SECONDS)

    def completed_by(self, spec: StudySpec) -> "Budget":
        """Returns this budget with missing values filled in from the study."""
        given = self.retraining_epochs is not None or self.retraining_seconds is not None
        epochs = self.retraining_epochs if given else spec.retrain_epochs
        return replace(self, seconds=self.seconds_for(spec), retraining_epochs=epochs)
