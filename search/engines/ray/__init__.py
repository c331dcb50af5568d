"""The engine with workers on a Ray cluster."""
