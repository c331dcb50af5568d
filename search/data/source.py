"""Where the images are and how to read them, in one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from search.data.folder_layout import Layout
from search.data.image_fit import Fit
from search.data.levels import Levels

if TYPE_CHECKING:
    from search.data.dataset import Dataset


# What a program may name as data: a source, its location, or images in memory of any kind that
# `store_in_memory` takes.
Data: TypeAlias = "DataSource | str | Path | Any | None"


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the images are and how to read them; None leaves the choice to the loader.

    Attributes:
        location: A named data set, a folder, a .zip, a label table or an .npz file; None means the
            study's own data.
        image_size: The side of a square, or (height, width), in pixels.
        fit: How images with another aspect ratio are fitted.
        levels: The values of grey image files with more than 8 bits that become 0 and 255.
        max_bad_files: The fraction of unreadable files that may be skipped.
        layout: Whether the folders are roles (train, val, test) or classes.
    """

    location: str | Path | None = None
    image_size: int | tuple[int, int] | None = None
    fit: Fit | None = None
    levels: Levels | None = None
    max_bad_files: float = 0.01
    layout: Layout = "auto"

    @classmethod
    def of(cls, data: Data) -> DataSource:
        """Returns `data` as a source; a path or name becomes the location of a new one.

        Images in memory are written to the cache, where every process can load them.
        """
        if isinstance(data, DataSource):
            return data
        if data is None or isinstance(data, str | Path):
            return cls(location=data)
        from search.data.in_memory import store_in_memory

        return cls(location=store_in_memory(data))

    def sized(self, size: int | tuple[int, int] | None) -> DataSource:
        """Returns this source with an image size, unless it already has one."""
        return self if self.image_size is not None else replace(self, image_size=size)

    def load(self) -> Dataset:
        """Loads the images through the cache; raises UserError as `load_data` does."""
        from search.data.loading import load_data

        assert self.location is not None
        return load_data(
            self.location,
            image_size=self.image_size,
            fit=self.fit,
            levels=self.levels,
            max_bad_files=self.max_bad_files,
            layout=self.layout,
        )
