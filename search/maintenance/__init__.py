"""Maintenance of stored studies: check, backup, copy, serve."""
