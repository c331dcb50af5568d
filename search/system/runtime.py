"""The runtime of Keras: quiet start-up, and threads, precision and XLA for the device."""

import logging
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Xla: TypeAlias = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How networks are computed; "auto" chooses by device, or by measurement for workers."""

    precision: Precision = "auto"
    xla: Xla = "auto"


# TensorFlow reads it when it is imported: "1" uses oneDNN on a CPU, "0" does not.
ONEDNN_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_NVIDIA_DRIVER = Path("/proc/driver/nvidia")
# In MiB; set by the process that starts several workers on one GPU.
_GPU_MEMORY_VARIABLE = "CNN_SEARCH_GPU_MEMORY_MIB"
# CUDA contexts and libraries need GPU memory in addition to the allocations.
_SHARED_PART = 0.9
_CHATTER = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:\S+: [IWE] |"
    rb"WARNING: All log messages before absl::|To enable the following instructions|"
    # LiteRT's converter and runtime.
    rb"INFO: |fully_quantize: "
)
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@cache
def start_keras() -> None:
    """Imports Keras and its backend once and finds the devices, without start-up messages."""
    imported = "keras" in sys.modules
    with startup_chatter_held():
        import keras

        if not imported:
            _limit_gpu_memory(keras.backend.backend())
        # The backend looks for devices at its first operation, and logs messages about it.
        keras.ops.zeros(1)


@contextmanager
def startup_chatter_held() -> Iterator[None]:
    """Hides the messages that TensorFlow's C++ code writes to standard error at start-up.

    No environment variable stops them all: some are written before the log level is read. Other
    output is shown at the end; if the block fails, everything is shown.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # By default TensorFlow uses oneDNN only on processors with AVX512-VNNI or newer; on older ones
    # its own convolutions train at less than half the speed (benchmarks/comparison/speed.py).
    if "tensorflow" not in sys.modules:
        os.environ.setdefault(ONEDNN_VARIABLE, "1")
    # Without a GPU, TensorFlow's C++ error log only reports skipped graph optimizations (the
    # remapper skips leaky_relu). With a GPU, it may say why the GPU is not used.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _NVIDIA_DRIVER.exists() else "3")
    # Retracing advice does not apply to a search: every trial has a new graph.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    failed = True
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            for line in written:
                if failed or not _CHATTER.match(line):
                    os.write(2, line)


def worker_environment(
    *, threads: int, gpu: str | None = None, sharing: int = 1, gpu_memory: int | None = None
) -> dict[str, str]:
    """Returns the environment variables that limit a process before it imports its backend.

    `sharing` workers divide the `gpu_memory` free bytes of one GPU among them.
    """
    environment = {
        # NumPy and PyTorch; TensorFlow within and across operations; JAX.
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "NPROC": str(threads),
    }
    if gpu is not None:
        # A worker that waits for another one to exit must not hold GPU memory meanwhile.
        environment |= {
            "CUDA_VISIBLE_DEVICES": gpu,
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        if sharing > 1:
            environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_SHARED_PART / sharing:.3f}"
        if sharing > 1 and gpu_memory is not None:
            share = int(gpu_memory * _SHARED_PART / sharing)
            environment[_GPU_MEMORY_VARIABLE] = str(share // 2**20)
    return environment


def _limit_gpu_memory(backend: str) -> None:
    """Limits this process to its share of the GPU if the backend has no variable for that."""
    limit = os.environ.get(_GPU_MEMORY_VARIABLE)
    if limit is None:
        return
    if backend == "tensorflow":
        import tensorflow

        for device in tensorflow.config.list_physical_devices("GPU"):
            share = tensorflow.config.LogicalDeviceConfiguration(memory_limit=int(limit))
            tensorflow.config.set_logical_device_configuration(device, [share])
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, int(limit) * 2**20 / whole))


@cache
def device_kind() -> Literal["cpu", "gpu"]:
    """Returns whether Keras computes on a GPU."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow  # Keras cannot list this backend's devices

        return "gpu" if tensorflow.config.list_physical_devices("GPU") else "cpu"
    return "gpu" if any("cpu" not in name for name in keras.distribution.list_devices()) else "cpu"


def dtype_policy(precision: Precision) -> str:
    """Returns the Keras dtype policy for training.

    "auto" uses bfloat16 on a GPU, and under TensorFlow on a CPU with bfloat16 instructions, where
    convolutions train about 1.5 times as fast as in float32; otherwise float32.
    """
    if precision != "auto":
        return _POLICIES[precision]
    import keras

    fast = device_kind() == "gpu" or (
        keras.backend.backend() == "tensorflow" and cpu_has_bfloat16()
    )
    return _POLICIES["bfloat16" if fast else "float32"]


def jit_compile(xla: Xla) -> bool:
    """Returns whether to compile with XLA.

    "auto" turns it off on a CPU, where XLA runs convolutions several times slower than TensorFlow's
    oneDNN. JAX always compiles.
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
def cpu_has_bfloat16() -> bool:
    """Returns whether the processor has bfloat16 instructions; without them it is emulated."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags.split() or "amx_bf16" in flags.split()
