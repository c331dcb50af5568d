"""Named data sets: `digits` comes with scikit-learn, the others are downloaded once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from cnn_blocks.errors import UserError
from search.data import decoding
from search.data.cache import Cache, Content, ImageEntry, PixelWriter
from search.data.image_fit import Fit
from search.data.labelled_arrays import Part, write_parts
from search.system.runtime import start_keras

# Increase it when a name gives different pixels.
_READING_VERSION = 1
_DIGITS_SIDE = 32
_DOWNLOAD_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class NamedData:
    """A data set that `--data <name>` accepts."""

    name: str
    description: str
    class_names: tuple[str, ...]
    read: Callable[[], dict[str, Part]]


def load_named(
    name: str, *, image_size: tuple[int, int] | None, fit: Fit, cache: Cache
) -> ImageEntry:
    """Returns the images of a named data set; needs the network only the first time.

    Raises UserError if it is not cached and cannot be downloaded.
    """
    data = NAMED_DATA[name]
    head = ["named", _READING_VERSION, name, image_size]
    # Named images are square, so `fit` changes nothing at a square size.
    if image_size is not None and image_size[0] != image_size[1] and fit != "stretch":
        head.append(fit)

    def fill(development: PixelWriter, test: PixelWriter) -> Content:
        return write_parts(
            data.read(),
            {"train": development, "test": test},
            class_names=data.class_names,
            image_size=image_size,
            fit=fit,
        )

    return cache.fetch(hashlib.sha256(json.dumps(head).encode()).hexdigest(), fill)


def _digits() -> dict[str, Part]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # 8x8 pixels with 17 levels; scaled here because their maximum is 16, not 255.
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    side = (_DIGITS_SIDE, _DIGITS_SIDE)
    enlarged = [decoding.resize(np.repeat(image, 3, axis=2), side) for image in pixels]
    return {"train": Part(np.stack(enlarged), labels)}


def _from_keras(name: str) -> dict[str, Part]:
    try:
        start_keras()
        import keras

        with _quietly():
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras wraps every network failure in a plain Exception
        raise UserError(
            f"'{name}' is not cached yet and cannot be downloaded ({error}). Fix: without a "
            "network, use --data digits (it comes with scikit-learn), an image folder or an .npz "
            "file, or copy ~/.keras/datasets or the image cache (CNN_SEARCH_CACHE) from a machine "
            "that has it."
        ) from error
    return {"train": Part(x_train, y_train), "test": Part(x_test, y_test)}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hides Keras' download messages and sets a timeout for a dead network."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch "
    "crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo "
    "keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse "
    "mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy "
    "porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television "
    "tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"

NAMED_DATA = {
    data.name: data
    for data in (
        NamedData(
            "digits",
            "1,797 handwritten digits, 10 classes, 8x8 grey enlarged to 32x32; offline",
            tuple("0123456789"),
            _digits,
        ),
        NamedData(
            "cifar10",
            "60,000 photos 32x32, 10 classes; downloaded once (170 MB)",
            tuple(_CIFAR10.split()),
            lambda: _from_keras("cifar10"),
        ),
        NamedData(
            "cifar100",
            "60,000 photos 32x32, 100 classes; downloaded once (169 MB)",
            tuple(_CIFAR100.split()),
            lambda: _from_keras("cifar100"),
        ),
        NamedData(
            "mnist",
            "70,000 handwritten digits 28x28 grey, 10 classes; downloaded once (11 MB)",
            tuple("0123456789"),
            lambda: _from_keras("mnist"),
        ),
        NamedData(
            "fashion_mnist",
            "70,000 pieces of clothing 28x28 grey, 10 classes; downloaded once (30 MB)",
            tuple(_FASHION.split(",")),
            lambda: _from_keras("fashion_mnist"),
        ),
    )
}
