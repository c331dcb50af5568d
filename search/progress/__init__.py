"""The display of a running search."""
