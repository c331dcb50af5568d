"""Retraining the winner, evaluating it, and writing the files of a run."""
