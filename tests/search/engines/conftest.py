"""Fixtures for real runs, which leave no process behind."""

from tests.support.fault_fixtures import _cache, make_place

__all__ = ["_cache", "make_place"]
