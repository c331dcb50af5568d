"""Optuna's storage proxy: one process serves a database to thousands of workers."""

import socket
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, get_storage

from cnn_blocks.errors import UserError
from search.maintenance.reading import database_url
from search.storage.opening import open_storage
from search.system.interruption import Interruption

_GRACE_SECONDS = 10.0
_EVERY_INTERFACE = ("0.0.0.0", "::")
# Messages may have any size, as in the proxy's clients.
_OPTIONS = (
    # Otherwise Linux lets a second server listen on the same port, and each gets half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
)


def serve(url: str, *, host: str, port: int, threads: int, announce: Callable[[str], None]) -> None:
    """Serves a storage to clients that open grpc://HOST:PORT, until a signal arrives.

    The first signal lets running calls finish and then raises SearchInterrupted; the second ends
    the process. `announce` receives the URL for clients once they can connect; port 0 selects a
    free port. Anyone who can reach the port can read and change the studies. Raises UserError if
    the storage cannot be opened or the port is not available.
    """
    database_url(url)
    # With Optuna's cache: without it, every call would read all trials again.
    storage = get_storage(open_storage(url))
    with Interruption() as interruption:
        server, bound = _listen(storage, host=host, port=port, threads=threads)
        try:
            server.start()
            announce(f"grpc://{name_for_clients(host)}:{bound}")
            server.wait_for_termination()
        finally:
            with interruption.deferred():
                server.stop(_GRACE_SECONDS).wait()


def _listen(storage: BaseStorage, *, host: str, port: int, threads: int) -> tuple[Any, int]:
    try:
        # None of these modules has type information.
        grpc: Any = import_module("grpc")
        protocol: Any = import_module("optuna.storages._grpc.auto_generated.api_pb2_grpc")
        service: Any = import_module("optuna.storages._grpc.servicer")
    except ImportError as error:
        raise UserError(
            f"Serving a storage needs grpcio and protobuf ({error}). Fix: "
            f"pip install grpcio protobuf"
        ) from error
    # optuna.storages.run_grpc_proxy_server does not return its server, so it could not be stopped
    # cleanly, and takes no options for it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        server = grpc.server(ThreadPoolExecutor(max_workers=threads), options=_OPTIONS)
        protocol.add_StorageServiceServicer_to_server(
            service.OptunaStorageProxyService(storage), server
        )
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise UserError(
            f"A server needs an address of this machine and an unused port; received "
            f"{host}:{port}. Fix: choose another port with --port, or --port 0 for a free one."
        ) from error
    return server, int(bound)


def name_for_clients(host: str) -> str:
    """Returns the name under which clients reach a server that listens on `host`."""
    if host in _EVERY_INTERFACE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
