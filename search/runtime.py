"""The process around Keras: quiet start-up, threads, precision and XLA for the device at hand."""

import logging
import os
import platform
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Xla: TypeAlias = Literal["auto", "on", "off"]

_NVIDIA_DRIVER = Path("/proc/driver/nvidia")
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@cache
def start_keras() -> None:
    """Imports Keras and its backend with their start-up chatter held back, once.

    The chatter is written by C++ code straight to the file descriptor; it is shown in full if the
    import fails.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Without a GPU, TensorFlow's C++ error log holds only what its graph optimizer skipped (the
    # remapper does for leaky_relu); with one it may hold why the GPU is not used.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _NVIDIA_DRIVER.exists() else "3")
    # Retracing advice means nothing in a search: every trial is another graph.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import keras

            # The backend looks for devices at its first operation, and comments on it.
            keras.ops.zeros(1)
        except BaseException:
            os.dup2(kept, 2)
            chatter.seek(0)
            os.write(2, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@cache
def device_kind() -> Literal["cpu", "gpu"]:
    """Returns whether Keras computes on a GPU."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow  # the one question that Keras does not answer for this backend

        return "gpu" if tensorflow.config.list_physical_devices("GPU") else "cpu"
    return "gpu" if any("cpu" not in name for name in keras.distribution.list_devices()) else "cpu"


def dtype_policy(precision: Precision) -> str:
    """Returns the Keras dtype policy for training.

    "auto" takes bfloat16 on a GPU, and on a CPU with bfloat16 instructions under TensorFlow,
    where it trains convolutions about 1.5 times as fast as float32; else float32.
    """
    if precision != "auto":
        return _POLICIES[precision]
    import keras

    fast = device_kind() == "gpu" or (
        keras.backend.backend() == "tensorflow" and _cpu_has_bfloat16()
    )
    return _POLICIES["bfloat16" if fast else "float32"]


def jit_compile(xla: Xla) -> bool:
    """Returns whether to compile with XLA.

    "auto" leaves it off on a CPU, where it runs convolutions several times slower than oneDNN
    under TensorFlow; JAX always compiles.
    """
    import keras

    if keras.backend.backend() == "jax":
        return True
    return xla == "on" or (xla == "auto" and device_kind() == "gpu")


def cpu_name() -> str:
    """Returns the processor's model name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _cpu_has_bfloat16() -> bool:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags.split() or "amx_bf16" in flags.split()
