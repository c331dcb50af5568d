"""Initial filters of the first convolution: the principal components of the images' patches."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

    from search.data import Subset

# Enough for exact components of patches; large images are few.
_MOST_PIXELS = 2**21
# Components with less than this part of the largest variance are noise. Grey images have only a
# third of the components of colour images.
_LEAST_VARIANCE = 1e-5


def whiten_first_convolution(network: "keras.Model", subset: "Subset") -> bool:
    """Sets the first convolution's filters to principal components of image patches.

    Filters whose outputs are uncorrelated speed up the first steps (Jordan, 2024, "94% on CIFAR-10
    in 3.29 seconds on a single GPU"). Each component and its negative make two filters, so a ReLU
    loses nothing. All filters get the mean norm of the random ones, and are trained like any other.
    Filters beyond the number of components stay random.

    Returns False, and changes nothing, if the first layer with weights is not a convolution of the
    images.
    """
    import keras

    layer = next((layer for layer in network.layers if layer.trainable_weights), None)
    if not isinstance(layer, keras.layers.Conv2D) or layer.kernel.shape[2] != 3:
        return False
    height, width = network.input_shape[1:3]
    sample = min(len(subset), max(1, _MOST_PIXELS // (height * width)))
    positions = np.linspace(0, len(subset) - 1, sample).astype(np.int64)
    images = keras.Model(network.input, layer.input)(subset.gather(positions)[0], training=False)
    kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
    norm = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0).mean()
    components = _principal_components(
        keras.ops.convert_to_numpy(keras.ops.cast(images, "float32")), kernel.shape[:2]
    )[: kernel.shape[-1] // 2]
    filters = np.concatenate([components, -components]) * norm
    kernel[..., : len(filters)] = np.moveaxis(filters, 0, -1)
    layer.kernel.assign(kernel)
    return True


def _principal_components(
    images: npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Returns the principal components (K, *size, channels) of patches, largest variance first.

    `images` has shape (N, height, width, channels). The components have norm 1.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, size, axis=(1, 2))
    # Patches that overlap add little.
    windows = np.moveaxis(windows[:, :: size[0], :: size[1]], 3, -1)
    patches = windows.reshape(-1, np.prod(windows.shape[3:])).astype(np.float64)
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    kept = variances > _LEAST_VARIANCE * variances[-1]
    components: npt.NDArray[np.float64] = vectors.T[kept][::-1]
    return components.reshape(-1, *size, images.shape[-1])
