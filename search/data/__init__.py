"""Data sets: loaded and decoded once, cached, split into sealed roles."""

from search.data.dataset import Dataset, Share
from search.data.loading import data_sources, load_data
from search.data.splits import Split, split_data

__all__ = ["Dataset", "Share", "Split", "data_sources", "load_data", "split_data"]
