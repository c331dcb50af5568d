"""Optuna's storage proxy in a process of its own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from optuna.storages import GrpcStorageProxy

from tests.support.server_process import free_port

_SERVE = """
import sys
from optuna.storages import get_storage, run_grpc_proxy_server
from search.storage import open_storage
behind, port = sys.argv[1:]
run_grpc_proxy_server(get_storage(open_storage(behind)), host="127.0.0.1", port=int(port))
"""
_SECONDS = 60


class StorageServer:
    """Optuna's storage proxy in a process of its own; clients open `url`."""

    def __init__(self, behind: str) -> None:
        self.port = free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self._behind = behind
        self.start()

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVE, self._behind, str(self.port)]
        )
        with pytest.warns(match="experimental"):
            probe = GrpcStorageProxy(host="127.0.0.1", port=self.port)
        probe.wait_server_ready(timeout=_SECONDS)
        probe.close()

    def suspend(self) -> None:
        """Suspends the server; its connections stay open until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a suspended server."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self._process.kill()
        self._process.wait(timeout=_SECONDS)


@contextmanager
def storage_server(behind: str) -> Iterator[StorageServer]:
    """Runs a storage proxy in front of another storage while the block runs."""
    server = StorageServer(behind)
    try:
        yield server
    finally:
        server.kill()
