"""Exports of a run's model in other formats, each compared with Keras before it is kept."""
