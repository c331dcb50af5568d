"""The elongated images of the image-fit benchmark."""

import numpy as np
import pytest

from benchmarks.image_fit import elongated
from search.data.types import Images


@pytest.fixture
def image() -> Images:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_a_scene_holds_the_whole_image_and_a_window_a_part(image: Images) -> None:
    generator = np.random.default_rng(0)
    scenes = [elongated(image, "scene", generator) for _ in range(20)]
    windows = [elongated(image, "window", generator) for _ in range(20)]

    assert all(min(scene.shape[:2]) == 32 for scene in scenes)
    assert all(max(window.shape[:2]) == 32 for window in windows)
    for shapes in ({scene.shape[:2] for scene in scenes}, {window.shape[:2] for window in windows}):
        ratios = [width / height for height, width in shapes]
        assert min(ratios) < 1 < max(ratios)
