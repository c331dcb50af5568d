"""Places for real runs, and no process left behind."""

from tests.support.fault_fixtures import _cache, make_place

__all__ = ["_cache", "make_place"]
