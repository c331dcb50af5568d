"""A connection that loses replies: the server carries a request out, but the reply is lost."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class LossyConnection:
    """Forwards connections to a server on loopback, and closes one at a chosen commit."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost_replies = 0
        self._commits_until_loss: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_reply(self, *, commits_before: int = 0) -> None:
        """Loses the server's reply to a later commit: after `commits_before` others."""
        self._commits_until_loss = commits_before

    def close(self) -> None:
        """Accepts no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                losing = threading.Event()
                for pump in (self._to_server, self._to_client):
                    threading.Thread(
                        target=pump, args=(client, server, losing), daemon=True
                    ).start()

    def _to_server(
        self, client: socket.socket, server: socket.socket, losing: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and self._commits_until_loss is not None:
                    if self._commits_until_loss == 0:
                        self._commits_until_loss = None
                        losing.set()
                    else:
                        self._commits_until_loss -= 1
                server.sendall(data)
        server.close()

    def _to_client(
        self, client: socket.socket, server: socket.socket, losing: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if losing.is_set():
                    self.lost_replies += 1
                    break
                client.sendall(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def lossy_connection(server_port: int) -> Iterator[LossyConnection]:
    """Forwards connections to a server while the block runs."""
    connection = LossyConnection(server_port)
    try:
        yield connection
    finally:
        connection.close()
