"""Loads data sets: decodes images once, caches them, and splits them into sealed roles."""

from search.data.dataset import Dataset, Subset
from search.data.decoding_settings import Decoding
from search.data.loading import data_sources, load_data
from search.data.source import DataSource
from search.data.splits import Split, split_data, undivided

__all__ = [
    "DataSource",
    "Dataset",
    "Decoding",
    "Split",
    "Subset",
    "data_sources",
    "load_data",
    "split_data",
    "undivided",
]
