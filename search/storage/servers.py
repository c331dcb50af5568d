"""Storages with a server: databases on the network, and Optuna's storage proxy."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage
from sqlalchemy import URL

from cnn_blocks.errors import UserError
from search.storage.connections import lost_connection, report_lost_connections
from search.storage.database import Database, open_database
from search.storage.retrying import RetryingStorage

_PROXY_SECONDS = 5.0
_CALL_SECONDS = 60.0
# A proxy needs 10 s for the first read of 10,000 trials, and workers that start together share it.
_READING_SECONDS = 300.0
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    # Servers close connections that send keepalives more often. The timeout also sets TCP's user
    # timeout: a connection to a lost machine is dropped, and the next call opens a new one.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 60_000),
)
_LIBPQ_DRIVERS = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
# These detect a lost machine after a minute; the defaults take hours.
_LIBPQ_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_server(url: URL, *, reopen: Callable[[], BaseStorage]) -> RetryingStorage:
    """Opens a database that has a server; raises the database libraries' own exceptions."""
    options = {
        # Detects a restarted server before an operation instead of by its failure.
        "pool_pre_ping": True,
        # No limit: a thread never waits for another thread's connection.
        "max_overflow": -1,
        "connect_args": connection_options(url),
    }
    text = url.render_as_string(hide_password=False)
    database = open_database(Database, text, engine_kwargs=options)
    report_lost_connections(database.engine)
    return RetryingStorage(get_storage(database), reopen=reopen, close=database.engine.dispose)


def open_proxy(url: URL, *, reopen: Callable[[], BaseStorage]) -> RetryingStorage:
    """Connects to a storage proxy; raises UserError if none answers within 5 s."""
    shown = url.render_as_string()
    if url.host is None or url.port is None or url.database:
        raise UserError(
            f"A storage server must be given as grpc://HOST:PORT; received {shown!r}. "
            f"Fix: use the address that `python -m search.storage serve` prints."
        )
    with warnings.catch_warnings():
        # The proxy is experimental in Optuna.
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = Proxy(host=f"[{url.host}]" if ":" in url.host else url.host, port=url.port)
    try:
        proxy.wait_server_ready(timeout=_PROXY_SECONDS)
        # Something listens on the port; this call tells whether it is a storage.
        proxy.get_all_studies()
    except Exception as error:
        proxy.close()
        lost = lost_connection(error)
        if lost is None and not isinstance(error, ConnectionError):
            raise
        raise UserError(
            f"The storage {shown!r} must be a storage server that answers within "
            f"{_PROXY_SECONDS:g} s; received: {lost.reason if lost else 'no answer'}. Fix: start "
            f"one with `python -m search.storage serve`, or choose another storage with "
            f"--storage URL."
        ) from error
    return RetryingStorage(proxy, reopen=reopen, close=proxy.close)


class Proxy(GrpcStorageProxy):
    """Optuna's client of a storage proxy, with a deadline for each call."""

    def _setup(self) -> None:
        # The module has no type information.
        client: Any = import_module("optuna.storages._grpc.client")
        self._channel = client.grpc.insecure_channel(
            f"{self._host}:{self._port}", options=_CHANNEL_OPTIONS
        )
        calls: Any = _Deadlines(client.api_pb2_grpc.StorageServiceStub(self._channel))
        self._stub = calls
        self._cache = client.GrpcClientCache(calls)


class _Deadlines:
    """Adds a deadline to each call of a storage proxy."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        seconds = _READING_SECONDS if name == "GetTrials" else _CALL_SECONDS
        return partial(getattr(self._calls, name), timeout=seconds)


def connection_options(url: URL) -> dict[str, Any]:
    """Returns our options for the driver; options in the URL take precedence."""
    if url.drivername not in _LIBPQ_DRIVERS:
        return {}
    return {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}
