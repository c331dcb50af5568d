"""A worker on a Ray cluster: the same loop and messages as a local worker process."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING

from search.engines.channel import Command
from search.engines.job import WorkerJob
from search.engines.messages import Message, Placed
from search.engines.ray.post_mortem import STANDARD_ERROR, own_log
from search.engines.ray.resources import WorkerResources
from search.engines.recycling import is_spent, own_memory
from search.engines.worker import work
from search.engines.workers import WorkerLimits
from search.system.crash import DeathWatch
from search.system.streams import escape_unencodable
from search.training.feasibility import whole_gpu_memory

if TYPE_CHECKING:
    from search.data import Split


class RayWorker:
    """A Ray actor: `run` yields the worker's messages, `command` sends it commands meanwhile.

    Each message comes with the worker's watch on its own process, because no other process on the
    node watches it.
    """

    def __init__(self) -> None:
        self._ours, self._theirs = Pipe()

    def run(
        self,
        worker: str,
        job: WorkerJob,
        split: "Split | None",
        *,
        resources: WorkerResources,
        limits: WorkerLimits,
        environment: Mapping[str, str],
    ) -> Iterator[tuple[Message, DeathWatch]]:
        """Works until no more trials are needed, or the worker is told to leave or is used up.

        `split` comes from the object store; without it the images are loaded on this node.
        """
        # Too late for libraries that are loaded already, but Ray has limited their threads itself.
        os.environ.update({**environment, **resources.environment()})
        escape_unencodable()
        watch = DeathWatch(os.getpid())
        node, address, memory, host_memory = _node(resources)
        yield Placed(node, address, own_log()), watch
        job = replace(job, memory_bytes=memory)
        errors: list[BaseException] = []

        def run_loop() -> None:
            try:
                leaving = _spent(limits, host_memory)
                work(self._theirs, job, worker, split=split, leaving=leaving, log=STANDARD_ERROR)
            except BaseException as error:
                errors.append(error)
            finally:
                self._theirs.send(None)

        loop = threading.Thread(target=run_loop, name="worker", daemon=True)
        loop.start()
        self.command("go")
        while (said := self._ours.recv()) is not None:
            watch.sample()
            yield said, watch
        loop.join()
        if errors:
            raise errors[0]

    def command(self, command: Command) -> None:
        """Sends a command to the running worker."""
        self._ours.send(command)


def _node(resources: WorkerResources) -> tuple[str, str, int, int]:
    """Returns this node's ID and address, and a worker's shares of device and node memory in bytes.

    The device is the GPU if the worker has one, else the node itself.
    """
    import ray

    identity = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == identity)
    found = node["Resources"]
    host_memory = int(found["memory"]) // max(1, resources.fits(found))
    gpu_memory = whole_gpu_memory() if resources.gpus else None
    memory = host_memory if gpu_memory is None else int(gpu_memory * min(1.0, resources.gpus))
    return identity, node["NodeManagerAddress"], memory, host_memory


def _spent(limits: WorkerLimits, host_memory: int) -> Callable[[], bool]:
    """Returns a function that tells, before each trial, whether to replace this worker."""
    held: list[int] = []

    def asked() -> bool:
        held.append(own_memory())
        return is_spent(
            limits,
            trials=len(held) - 1,
            holds=held[-1],
            held_when_ready=held[0],
            share=host_memory,
        )

    return asked
