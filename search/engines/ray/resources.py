"""What a worker takes of a Ray cluster's nodes."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cnn_blocks.errors import UserError
from search.system.runtime import worker_environment
from search.training.feasibility import whole_gpu_memory


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker takes of a node: CPUs and GPUs, fractions too."""

    cpus: float
    gpus: float

    def fits(self, resources: Mapping[str, float]) -> int:
        """Returns how many workers find room in resources as Ray counts them."""
        places = int(resources.get("CPU", 0.0) / self.cpus)
        if self.gpus:
            # A GPU that is shared is not put together from parts of several.
            whole = int(resources.get("GPU", 0.0))
            places = min(
                places, whole * int(1 / self.gpus) if self.gpus < 1 else int(whole / self.gpus)
            )
        return places

    def environment(self) -> dict[str, str]:
        """Returns the variables that keep a process to its share of the node that it is on."""
        threads = max(1, int(self.cpus))
        if not self.gpus:
            return {**worker_environment(threads=threads), "CUDA_VISIBLE_DEVICES": "-1"}
        return worker_environment(
            threads=threads,
            gpu=os.environ.get("CUDA_VISIBLE_DEVICES"),  # chosen by Ray
            sharing=int(1 / self.gpus) if self.gpus < 1 else 1,
            # Not what is free: a worker that replaces another one starts beside the others.
            gpu_memory=whole_gpu_memory(),
        )


def ray_share(
    engine: str,
    *,
    workers: int | Literal["auto"],
    address: str | None,
    cpus_each: float | None,
    gpus_each: float | None,
) -> Share | None:
    """Returns what a worker on Ray takes; None for the local engine. Raises UserError."""
    if engine not in ("local", "ray"):
        raise UserError(f"An engine must be 'local' or 'ray'; received {engine!r}.")
    given = {"--address": address, "--cpus-each": cpus_each, "--gpus-each": gpus_each}
    named = [name for name, value in given.items() if value is not None]
    if engine == "local":
        if named:
            options = ", ".join(named)
            raise UserError(
                f"{options} needs '--engine ray'; received the engine 'local'. "
                f"Add --engine ray, or leave {options} out."
            )
        return None
    if workers == 0:
        raise UserError(
            "The engine 'ray' trains in workers, not in this process; received 0 workers. "
            "Name a number, or auto for as many as find room on the cluster."
        )
    cpus, gpus = 1.0 if cpus_each is None else cpus_each, gpus_each or 0.0
    if not 0 < cpus < math.inf:
        raise UserError(
            f"--cpus-each must be a number above 0, such as 0.5 or 4; received {cpus:g}."
        )
    if not (0 <= gpus <= 1 or (1 < gpus < math.inf and gpus == int(gpus))):
        raise UserError(
            f"--gpus-each must be a fraction of one GPU, such as 0.25, or a whole number of them; "
            f"received {gpus:g}."
        )
    return Share(cpus=cpus, gpus=gpus)
