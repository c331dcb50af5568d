"""Engines run a search's workers: in processes on this machine, or on a Ray cluster."""
