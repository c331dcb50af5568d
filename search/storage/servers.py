"""Storages behind a server: databases that are reached by network, and Optuna's storage proxy."""

import warnings
from collections.abc import Callable
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage
from sqlalchemy import URL

from cnn_blocks.errors import UserError
from search.storage.connections import lost_connection, report_lost_connections
from search.storage.database import Database, open_database
from search.storage.retrying import RetryingStorage

_PROXY_SECONDS = 5.0
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
        proxy = GrpcStorageProxy(
            host=f"[{url.host}]" if ":" in url.host else url.host, port=url.port
        )
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


def connection_options(url: URL) -> dict[str, Any]:
    """Returns our options for the driver; those in the URL win."""
    if url.drivername not in _LIBPQ_DRIVERS:
        return {}
    return {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}
