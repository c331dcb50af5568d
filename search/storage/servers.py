"""Storages behind a server: databases that are reached by network, and Optuna's storage proxy."""

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
# The first read of 10,000 trials takes a proxy 10 s, and workers that start together share it.
_READING_SECONDS = 300.0
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    # Servers end connections that ask for signs of life more often. The timeout is TCP's, too: a
    # connection to a machine that vanished is given up, and the next call makes another.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 60_000),
)
_LIBPQ_DRIVERS = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
# A machine that vanished without a word is noticed after a minute, not after hours.
_LIBPQ_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_server(url: URL, *, reopen: Callable[[], BaseStorage]) -> RetryingStorage:
    """Opens a database that has a server; what it raises is the database libraries' own."""
    options = {
        # A server that was restarted is noticed before an operation, not by it.
        "pool_pre_ping": True,
        # A thread never waits for another's connection.
        "max_overflow": -1,
        "connect_args": connection_options(url),
    }
    text = url.render_as_string(hide_password=False)
    database = open_database(Database, text, engine_kwargs=options)
    report_lost_connections(database.engine)
    return RetryingStorage(get_storage(database), reopen=reopen, close=database.engine.dispose)


def open_proxy(url: URL, *, reopen: Callable[[], BaseStorage]) -> RetryingStorage:
    """Connects to a storage proxy; UserError where none answers within seconds."""
    shown = url.render_as_string()
    if url.host is None or url.port is None or url.database:
        raise UserError(
            f"A storage server must be given as grpc://HOST:PORT; received {shown!r}. "
            f"`python -m search.storage serve` prints its address."
        )
    with warnings.catch_warnings():
        # The proxy is experimental in Optuna.
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = Proxy(host=f"[{url.host}]" if ":" in url.host else url.host, port=url.port)
    try:
        proxy.wait_server_ready(timeout=_PROXY_SECONDS)
        # Something listens; this says whether it is a storage.
        proxy.get_all_studies()
    except Exception as error:
        proxy.close()
        lost = lost_connection(error)
        if lost is None and not isinstance(error, ConnectionError):
            raise
        raise UserError(
            f"The storage {shown!r} must be a storage server that answers within "
            f"{_PROXY_SECONDS:g} s; received: {lost.reason if lost else 'no answer'}. Start one "
            f"with `python -m search.storage serve`, or choose another storage with --storage URL."
        ) from error
    return RetryingStorage(proxy, reopen=reopen, close=proxy.close)


class Proxy(GrpcStorageProxy):
    """Optuna's client of a storage proxy, whose calls end although nobody answers them."""

    def _setup(self) -> None:
        # Ships no type information.
        client: Any = import_module("optuna.storages._grpc.client")
        self._channel = client.grpc.insecure_channel(
            f"{self._host}:{self._port}", options=_CHANNEL_OPTIONS
        )
        calls: Any = _Deadlines(client.api_pb2_grpc.StorageServiceStub(self._channel))
        self._stub = calls
        self._cache = client.GrpcClientCache(calls)


class _Deadlines:
    """The calls of a storage proxy, each with a deadline."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        seconds = _READING_SECONDS if name == "GetTrials" else _CALL_SECONDS
        return partial(getattr(self._calls, name), timeout=seconds)


def connection_options(url: URL) -> dict[str, Any]:
    """Returns our options for the driver; those in the URL win."""
    if url.drivername not in _LIBPQ_DRIVERS:
        return {}
    return {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}
