"""The same workers on a Ray cluster."""
