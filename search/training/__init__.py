"""One training loop for trials and for the final retraining."""

from search.training.fit import fit
from search.training.result import FitResult, ValidationReport

__all__ = ["FitResult", "ValidationReport", "fit"]
