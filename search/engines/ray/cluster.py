"""Connects to a Ray cluster, counts the workers that fit on it, and stores the images in it."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import make_url

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.engines.ray.resources import WorkerResources
from search.storage import without_password
from search.storage.opening import parse_url
from search.system.interruption import SIGNALS
from search.trials.experiment import Experiment

if TYPE_CHECKING:
    from search.data import Split

_CONNECT_SECONDS = 5.0
# Ray's own objects and those of other programs on the cluster need room as well.
_STORE_FRACTION = 0.5
_START = (
    "Fix: start one with `ray start --head` (other machines join with `ray start --address "
    "HOST:PORT`), or name a running one with --address HOST:PORT"
)


class RayCluster:
    """A cluster that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def nodes(self) -> list[dict[str, Any]]:
        """Returns Ray's descriptions of the nodes that are alive."""
        return [node for node in self._ray.nodes() if node["Alive"]]

    @property
    def address(self) -> str:
        """The IP address of the node that this process runs on."""
        return str(self._ray.util.get_node_ip_address())

    def places(self, resources: WorkerResources) -> int:
        """Returns how many workers fit on the current nodes, ignoring what else runs there."""
        return sum(resources.fits(node["Resources"]) for node in self.nodes())

    def require_shared_storage(self, url: str, *, addresses: set[str]) -> None:
        """Raises UserError if workers on other machines would need a database file of this one."""
        elsewhere = sorted(addresses - {self.address})
        if elsewhere and make_url(url).get_backend_name() == "sqlite":
            raise UserError(
                f"Workers on several machines need a storage that all of them can reach; received "
                f"the file {without_password(url)!r} and workers on {', '.join(elsewhere)} as well "
                f"as {self.address}. Fix: use a PostgreSQL server (--storage "
                f"postgresql+psycopg://...), or serve one with `python -m search.storage serve` "
                f"(--storage grpc://HOST:PORT)."
            )

    def store(self, split: "Split") -> Any:
        """Puts the images into the object store; returns None if a node's store is too small.

        Ray copies them to a node when the first worker there asks for them; the node's workers
        share that copy.
        """
        sizes = [node["Resources"].get("object_store_memory", 0.0) for node in self.nodes()]
        if image_bytes(split) > _STORE_FRACTION * min(sizes):
            return None
        from ray.util import deregister_serializer, register_serializer

        # Ray would copy a memory-mapped array into the pickle; it passes a plain array out of band.
        register_serializer(np.memmap, serializer=np.asarray, deserializer=_unchanged)
        try:
            return self._ray.put(split)
        finally:
            deregister_serializer(np.memmap)


@contextmanager
def connected(address: str | None) -> Iterator[RayCluster]:
    """Connects this process to a running cluster while the block runs.

    Without an address it uses RAY_ADDRESS if set, else the cluster that runs on this machine. If
    the program is connected already, that connection is used and kept. Raises UserError if there is
    no such cluster, or if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"The engine 'ray' needs Ray, which cannot be imported ({error}). Fix: install it "
            f"with: pip install ray"
        ) from error
    if ray.is_initialized():
        yield RayCluster(ray)
        return
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check(address)
    # Ray installs its own SIGTERM handler; the handlers of this program are restored below.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _unreachable(address, error) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        yield RayCluster(ray)
    finally:
        ray.shutdown()


def image_bytes(split: "Split") -> int:
    """Returns the size in bytes of a data set's arrays, all roles together."""
    arrays = split.dataset.arrays
    held = (arrays.development, arrays.development_labels, arrays.test, arrays.test_labels)
    return sum(array.nbytes for array in held if array is not None)


def for_any_folder(experiment: Experiment) -> Experiment:
    """Returns an experiment with absolute paths and with the source of its study's file.

    So a worker can use it from any working folder.
    """
    url = parse_url(experiment.url)
    storage, artifacts, data = experiment.url, experiment.artifacts, experiment.data
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        database = str(Path(str(url.database)).resolve())
        storage = url.set(database=database).render_as_string(hide_password=False)
    if artifacts is not None and not artifacts.startswith("s3://"):
        artifacts = str(user_path(artifacts).resolve())
    location = data.location
    if location is not None and user_path(location).exists():
        data = replace(data, location=str(user_path(location).resolve()))
    study = experiment.study.with_texts()
    return replace(
        experiment,
        study=study,
        storage=storage,
        data=data,
        checkpoints=experiment.checkpoints.resolve(),
        artifacts=artifacts,
    )


def _check(address: str) -> None:
    """Raises UserError at once for an address that Ray would retry for minutes."""
    if address.startswith("ray://"):
        raise UserError(
            f"A search must run on a node of its cluster, not through Ray Client; received "
            f"{address!r}. Fix: start it there, for example with `ray job submit`."
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        if address != "auto":
            raise _unreachable(address, "it is not HOST:PORT")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, problem: object) -> UserError:
    where = "on this machine" if address == "auto" else f"at {address!r}"
    text = " ".join(str(problem).split())
    return UserError(f"The engine 'ray' needs a running cluster; none {where}: {text}. {_START}.")


def _unchanged(array: Any) -> Any:
    return array
