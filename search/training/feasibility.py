"""Whether a candidate fits into memory, estimated from shapes before any weight is allocated."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from cnn_blocks.build import ModelShape
from cnn_blocks.errors import InfeasibleError
from search.system.control_groups import memory_groups
from search.system.runtime import device_kind
from search.training.prediction import prediction_batch
from spaces.candidate import TrainingConfig

MEBIBYTE = 2**20
_ELEMENT_BYTES = 4
_OPTIMIZER_SLOTS = {"sgd": 1, "adam": 2, "adamw": 2, "muon": 2}
# The weight, its gradient, and a copy of the weight, as of the slots, while saving a checkpoint.
_COPIES_OF_WEIGHTS = 3
_COPIES_OF_SLOTS = 2
# The weight, a copy while it is loaded, and a copy while a checkpoint is written.
_COPIES_OF_FROZEN_WEIGHTS = 3
# Activations are kept for the backward pass, which computes gradients of the same shapes.
_COPIES_OF_ACTIVATIONS = 2
# In a forward pass without a backward pass, at most this share of the activations is alive at once,
# and hardly more than this many outputs of the widest layer. For deep networks the second limit is
# far lower.
_LIVE_SHARE = 0.45
_LIVE_LAYERS = 6
# Graphs, the work space of threads, and the input pipeline.
_CONSTANT_BYTES = 192 * MEBIBYTE
# A margin for the kernel and for the error of the estimate.
_USABLE_SHARE = 0.9


def estimate_memory(
    shape: ModelShape,
    training: TrainingConfig,
    *,
    on_features: bool = False,
    images: int | None = None,
) -> int:
    """Returns an upper bound of the bytes that a training adds to this process.

    `on_features` means that the frozen part is evaluated beforehand, in batches of its own.
    `images` is the number of training or validation images, whichever is larger; it limits the
    batch size. None means no limit.
    The estimate assumes float32 throughout, although bfloat16 needs less, and no reuse of buffers.
    Measured peaks are 35% to 90% of it.
    """
    slots = _OPTIMIZER_SLOTS[training.optimizer]
    copies = _COPIES_OF_WEIGHTS + _COPIES_OF_SLOTS * slots
    frozen = shape.parameters - shape.trainable_parameters
    kept = shape.activations - shape.frozen_activations
    passed = 0.0 if on_features else _live(shape.frozen_activations, shape)
    batch = _batch(training.batch_size, images)
    validation_batch = _batch(prediction_batch(shape.largest_activation), images)
    training_elements = batch * (_COPIES_OF_ACTIVATIONS * kept + passed)
    validation_elements = validation_batch * _live(shape.activations, shape)
    weights = shape.trainable_parameters * copies + frozen * _COPIES_OF_FROZEN_WEIGHTS
    elements = weights + int(max(training_elements, validation_elements))
    return elements * _ELEMENT_BYTES + _CONSTANT_BYTES


def _batch(size: int, images: int | None) -> int:
    return size if images is None else max(1, min(size, images))


def _live(activations: int, shape: ModelShape) -> float:
    live = activations * _LIVE_SHARE
    return min(live, _LIVE_LAYERS * shape.largest_activation) if shape.largest_activation else live


def require_memory(needed: int, *, available: int | None = None, share: int | None = None) -> None:
    """Raises InfeasibleError if `needed` bytes exceed the free memory or this worker's subset.

    On a GPU only the share counts: other workers and the previous trial hold part of the rest.
    """
    if share is not None and device_kind() == "gpu":
        available = share
    free = free_memory() if available is None else available
    free = free if share is None else min(free, share)
    usable = int(free * _USABLE_SHARE)
    if needed > usable:
        raise InfeasibleError(
            f"A candidate must fit into the free memory; this one needs about "
            f"{needed / MEBIBYTE:,.0f} MiB, and {usable / MEBIBYTE:,.0f} MiB are usable.",
            constraint="memory",
        )


def require_parameters(parameters: int, most: int | None) -> None:
    """Raises InfeasibleError for a network with more parameters than the study allows."""
    if most is not None and parameters > most:
        raise InfeasibleError(
            f"A network of this study may have at most {most:,} parameters; this one would have "
            f"{parameters:,}. The usual reason is Flatten on a large feature map.",
            constraint="parameters",
        )


def free_memory(*, on_gpu: bool | None = None) -> int:
    """Returns the bytes that a training may use: of the GPU if Keras uses one, else of the RAM.

    The limits of control groups (containers, job schedulers) count as well as the machine's memory.
    With `on_gpu` given, Keras is not imported to find out which device it uses.
    """
    on_gpu = device_kind() == "gpu" if on_gpu is None else on_gpu
    device = gpu_memory() if on_gpu else None
    if device is not None:
        return device
    return min([psutil.virtual_memory().available, *_left_of(memory_groups())])


@functools.cache
def gpu_memory() -> int | None:
    """Returns the free bytes of the first GPU visible to this process; None without one.

    The first result is cached, so call this before Keras starts: the framework never returns
    memory to the driver, which then counts memory that the next trial can reuse as taken.
    """
    return _ask_gpu("memory.free")


def whole_gpu_memory() -> int | None:
    """Returns the total bytes of the first GPU visible to this process; None without one."""
    return _ask_gpu("memory.total")


def _ask_gpu(quantity: str) -> int | None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if visible in ("", "-1") or shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--id={visible}", f"--query-gpu={quantity}"]
    command.append("--format=csv,noheader,nounits")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return int(answer.stdout.split()[0]) * MEBIBYTE
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _left_of(groups: Iterable[Path]) -> Iterator[int]:
    """Yields the bytes left in each control group that limits memory."""
    unlimited = psutil.virtual_memory().total
    files = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for group in groups:
        for limit, usage, reclaimable in files:
            try:
                maximum = (group / limit).read_text().strip()
                if maximum == "max" or int(maximum) >= unlimited:
                    continue
                lines = (group / "memory.stat").read_text().splitlines()
                rows = dict(line.split() for line in lines)
                # Cached file pages count as usage, but the kernel reclaims them on demand.
                used = int((group / usage).read_text()) - int(rows.get(reclaimable, 0))
                yield max(0, int(maximum) - used)
            except (OSError, ValueError):
                continue
