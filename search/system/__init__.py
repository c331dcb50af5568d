"""Processes, files, signals, and the runtime of Keras."""
