"""The commands that train: `run` and `retrain`."""
