"""One training loop for trials and for the final retraining."""

from search.training.fit import FitResult, Report, fit

__all__ = ["FitResult", "Report", "fit"]
