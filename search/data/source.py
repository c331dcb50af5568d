"""Where the images are and how they are read, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from search.data.folder_layout import Layout
from search.data.image_fit import Fit
from search.data.levels import Levels

if TYPE_CHECKING:
    from search.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the images are and how they are read; what is None is decided by the images.

    Attributes:
        location: A named data set, a folder, a .zip, a table of labels or an .npz file; None is the
            study's own.
        image_size: The side of a square or (height, width) in pixels.
        fit: What happens to images of another shape.
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
    def of(cls, data: str | Path | DataSource | None) -> DataSource:
        """Returns a source, made from its location where only that is given."""
        return data if isinstance(data, DataSource) else cls(location=data)

    def sized(self, size: int | tuple[int, int] | None) -> DataSource:
        """Returns a source whose images get a size, unless it names one."""
        return self if self.image_size is not None else replace(self, image_size=size)

    def load(self) -> Dataset:
        """Loads the images, decoded once and cached; raises UserError as `load_data` does."""
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
