"""The storages to compare, each temporary and empty at first."""

import multiprocessing
import socket
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning

from search.storage import open_storage

_PROXY_THREADS = 64


@dataclass(frozen=True)
class Storage:
    """A storage: the URL that workers open, and the database behind it."""

    name: str
    url: str
    database: str


@contextmanager
def sqlite() -> Iterator[Storage]:
    """A database file in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/studies.db"
        open_storage(url)
        yield Storage("sqlite", url, url)


@contextmanager
def postgresql(url: str) -> Iterator[Storage]:
    """An existing PostgreSQL database."""
    open_storage(url)
    yield Storage("postgresql", url, url)


@contextmanager
def proxy(database: Storage) -> Iterator[Storage]:
    """Optuna's storage proxy in front of a database, in its own process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_proxy, args=(database.url, port), daemon=True
    )
    process.start()
    try:
        url = f"grpc://127.0.0.1:{port}"
        _wait_for_server(port)
        yield Storage(f"proxy on {database.name}", url, database.url)
    finally:
        process.terminate()
        process.join()


def _serve_proxy(url: str, port: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # `get_storage` adds Optuna's trial cache if it is missing.
    storage = optuna.storages.get_storage(open_storage(url))
    # SQLite allows one writer, and its engine has few connections.
    threads = 8 if url.startswith("sqlite") else _PROXY_THREADS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.run_grpc_proxy_server(
            storage, host="127.0.0.1", port=port, thread_pool=ThreadPoolExecutor(threads)
        )


def _wait_for_server(port: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port)
    storage.wait_server_ready(timeout=60)
    storage.close()
