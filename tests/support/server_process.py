"""A server on a free port, for as long as a test needs it."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 60


def free_port() -> int:
    """Returns a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server_process(command: Sequence[str | Path], log: Path) -> Iterator[str]:
    """Runs a server that takes --host and --port; yields its address once it answers."""
    port = free_port()
    with log.open("wb") as words:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + _SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=_SECONDS)
            finally:
                process.kill()
