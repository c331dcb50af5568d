"""Serves optuna-dashboard for a storage, in this process."""

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.storages import BaseStorage, get_storage

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.errors import SearchInterrupted
from search.maintenance.check import open_store
from search.maintenance.reading import open_for_reading
from search.maintenance.serving import name_for_clients
from search.storage.artifacts import open_artifacts
from search.storage.opening import open_storage, parse_url
from search.system.interruption import Interruption

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080


def run_dashboard(
    url: str,
    *,
    artifacts: str | None,
    default_artifacts: Path,
    host: str = LOOPBACK,
    port: int | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serves optuna-dashboard, and returns on Ctrl-C or SIGTERM.

    `artifacts` is a folder or s3://BUCKET/PREFIX; None shows those of `default_artifacts`, if that
    folder exists. The default `port` is 8080, or a free one if 8080 is taken. `announce` receives
    the address once browsers can connect. Raises UserError if the storage or a folder does not
    exist, and if the address cannot be listened on.
    """
    try:
        with Interruption():
            storage = _open_existing(url)
            store: ArtifactStore | None = None
            if artifacts is not None:
                store = open_store(artifacts)
            elif user_path(default_artifacts).is_dir():
                store = open_artifacts(default_artifacts, check=False).store
            with _listen(host, port) as server:
                # Takes seconds because it imports scikit-learn; it has no type information.
                dashboard: Any = import_module("optuna_dashboard")
                server.set_app(dashboard.wsgi(storage, store))
                announce(f"http://{name_for_clients(host)}:{server.server_port}/")
                server.serve_forever()
    except SearchInterrupted:
        return


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach a host's address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_existing(url: str) -> BaseStorage:
    """Opens an existing storage; Optuna alone would create a missing one."""
    if parse_url(url).get_backend_name() != "grpc":
        with open_for_reading(url):
            pass
    # Without a cache in front of the database, every page would read all trials again.
    return get_storage(open_storage(url))


def _listen(host: str, port: int | None) -> "_Server":
    try:
        try:
            return _Server(host, DEFAULT_PORT if port is None else port)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise
            return _Server(host, 0)
    except OSError as error:
        raise UserError(
            f"The dashboard needs an address of this machine and a free port; "
            f"received {host}:{DEFAULT_PORT if port is None else port} ({error.strerror}). Fix: "
            f"leave out --port, or name another host or port."
        ) from error


class _Server(ThreadingMixIn, WSGIServer):
    """A WSGI server with a thread for each request, because a page sends many at once."""

    # An open connection does not keep the process alive.
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _QuietHandler)

    def server_bind(self) -> None:
        # Skips HTTPServer's own method, which asks the name server for this machine's name.
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser drops its connections when it leaves a page.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *values: Any) -> None:
        """Prints nothing, so that requests do not fill the terminal."""
