"""Array types of images and labels."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.uint8]
Indices: TypeAlias = NDArray[np.int64]
