"""A worker on a node of a Ray cluster: the loop, and the messages, of a local worker process."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Any

import psutil

from search.engines.channel import Command
from search.engines.job import WorkerJob, WorkerLimits
from search.engines.ray_share import Share
from search.engines.worker import work
from search.feasibility import MEBIBYTE, gpu_memory

if TYPE_CHECKING:
    from search.data import Split

# Of its share of the memory, a worker may hold so much after a trial before it is replaced.
_SHARE_HELD = 0.25


class RayWorker:
    """An actor: `run` yields what the worker says, `command` tells it what to do meanwhile."""

    def __init__(self) -> None:
        self._ours, self._theirs = Pipe()

    def run(
        self,
        job: WorkerJob,
        split: "Split | None",
        worker: str,
        *,
        share: Share,
        limits: WorkerLimits,
        environment: Mapping[str, str],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Works until no trial is wanted, or the worker is told to leave, or is spent.

        `split` comes out of the object store; without it the images are loaded on this node.
        """
        # Ray has told the libraries that are loaded already how many threads to take.
        os.environ.update({**environment, **share.environment()})
        address, memory = _node(share)
        yield "placed", {"address": address, "process": os.getpid()}
        job = replace(job, memory_bytes=memory)
        errors: list[BaseException] = []

        def run_loop() -> None:
            try:
                work(self._theirs, job, worker, split=split, leaving=_spent(limits, memory))
            except BaseException as error:
                errors.append(error)
            finally:
                self._theirs.send(None)

        loop = threading.Thread(target=run_loop, name="worker", daemon=True)
        loop.start()
        self.command("go")
        while (said := self._ours.recv()) is not None:
            yield said
        loop.join()
        if errors:
            raise errors[0]

    def command(self, command: Command) -> None:
        """Tells the running worker what to do."""
        self._ours.send(command)


def _node(share: Share) -> tuple[str, int]:
    """Returns the address of this node, and a worker's share of what trials run in, in bytes."""
    import ray

    identity = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == identity)
    resources = node["Resources"]
    on_gpu = gpu_memory() if share.gpus else None
    if on_gpu is not None:
        memory = int(on_gpu * min(1.0, share.gpus))
    else:
        memory = int(resources["memory"]) // max(1, share.fits(resources))
    return node["NodeManagerAddress"], memory


def _spent(limits: WorkerLimits, memory: int) -> Callable[[], bool]:
    """Returns what says, asked before each trial, whether another process should go on."""
    most = limits.memory_mib or int(memory * _SHARE_HELD) // MEBIBYTE
    begun = 0

    def is_spent() -> bool:
        nonlocal begun
        begun += 1
        return begun > limits.trials_each or (begun > 1 and _own_memory() > most * MEBIBYTE)

    return is_spent


def _own_memory() -> int:
    """Returns the bytes of this process alone: images in the object store are everybody's."""
    held = psutil.Process().memory_info()
    return int(held.rss - getattr(held, "shared", 0))
