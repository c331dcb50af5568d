"""The resources of a worker on a Ray cluster."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from search.system.runtime import worker_environment
from search.training.feasibility import whole_gpu_memory


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """The CPUs and GPUs that one worker takes from a node; both may be fractions."""

    cpus: float
    gpus: float

    def fits(self, resources: Mapping[str, float]) -> int:
        """Returns how many workers fit into a node's resources, as Ray counts them."""
        places = int(resources.get("CPU", 0.0) / self.cpus)
        if self.gpus:
            # Ray takes a fraction of a GPU from one GPU, never from parts of several.
            whole = int(resources.get("GPU", 0.0))
            places = min(
                places, whole * int(1 / self.gpus) if self.gpus < 1 else int(whole / self.gpus)
            )
        return places

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that limit a process to these resources."""
        threads = max(1, int(self.cpus))
        if not self.gpus:
            return {**worker_environment(threads=threads), "CUDA_VISIBLE_DEVICES": "-1"}
        return worker_environment(
            threads=threads,
            gpu=os.environ.get("CUDA_VISIBLE_DEVICES"),  # chosen by Ray
            sharing=int(1 / self.gpus) if self.gpus < 1 else 1,
            # Not the free memory: a replacement starts while the other workers still hold theirs.
            gpu_memory=whole_gpu_memory(),
        )
