"""Pretrained networks for a study in which they are optional: those with available weights."""

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.errors import UserError
from cnn_blocks.pretrained import Pretrained
from search.system.runtime import start_keras
from spaces.backbones import DEFAULT_BACKBONES

# In order of preference, each with a part of the name of its weights file.
_CACHED = {
    "EfficientNetV2B0": "efficientnetv2-b0_notop",
    "MobileNetV3Large": "weights_mobilenet_v3_large_224_1.0_float_no_top",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top",
    "EfficientNetB0": "efficientnetb0_notop",
    "MobileNetV3Small": "weights_mobilenet_v3_small_224_1.0_float_no_top",
    "ResNet50V2": "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop",
}
_SECONDS_TO_CONNECT = 3.0
_SECONDS_TO_DOWNLOAD = 30.0


def backbones_at_hand() -> tuple[tuple[Pretrained, ...], str]:
    """Returns the pretrained networks that a study searches by default, and the reason.

    That is one network whose ImageNet weights are in Keras' cache, else a small one whose weights
    can be downloaded within seconds, else none.
    """
    for family, part in _CACHED.items():
        if any(part in path.name for path in _cache().glob("*.h5")):
            return (KerasApplication(family=family),), (
                f"{family}'s ImageNet weights are in Keras' cache: the search includes it "
                f"(--backbone none leaves it out)"
            )
    small = DEFAULT_BACKBONES[0]
    if _downloaded(small):
        return (small,), (
            f"{small.summary().split()[0]}'s ImageNet weights were downloaded: the search includes "
            f"it (--backbone none leaves it out)"
        )
    return (), (
        "no pretrained weights are available: all networks are trained from scratch (--backbone "
        "selects a network of keras.applications or a .keras file)"
    )


def _cache() -> Path:
    # The same lookup as in Keras' own `get_file`.
    named = os.environ.get("KERAS_HOME")
    if named:
        return Path(named) / "models"
    with suppress(RuntimeError):  # a user without a home folder
        if os.access(home := Path.home(), os.W_OK):
            return home / ".keras" / "models"
    return Path("/tmp/.keras/models")


def _downloaded(backbone: Pretrained) -> bool:
    start_keras()
    from keras.src.applications.mobilenet_v3 import BASE_WEIGHT_PATH

    host = urlparse(BASE_WEIGHT_PATH).hostname
    try:
        socket.create_connection((host, 443), timeout=_SECONDS_TO_CONNECT).close()
    except OSError:
        return False
    succeeded = threading.Event()

    def download() -> None:
        try:
            backbone.source()
        except (UserError, OSError):
            return
        succeeded.set()

    # A slow connection must not delay a run that does not need the weights.
    thread = threading.Thread(target=download, name="download", daemon=True)
    thread.start()
    thread.join(_SECONDS_TO_DOWNLOAD)
    return succeeded.is_set()
