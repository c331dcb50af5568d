"""The demo's web server: one page and one prediction endpoint, on this machine only."""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any

from search.results.predicting import Predictor

# A camera photo has at most a few tens of megabytes.
_MOST_BYTES = 64 * 2**20
_TOP = 5
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)


class DemoServer(ThreadingHTTPServer):
    """Serves the page on the loopback interface; port 0 picks a free port."""

    daemon_threads = True

    def __init__(self, predictor: Predictor, *, title: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.predictor = predictor
        self.title = title
        # Only one thread may call Keras' predict at a time.
        self.lock = Lock()

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer

    def do_GET(self) -> None:
        if not self._is_own_host():
            return
        if self.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"The only page is /")
            return
        page = (files("search.demo") / "page.html").read_bytes()
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page)

    def do_POST(self) -> None:
        if not self._is_own_host():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/predict" or not length.isdigit():
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", b"POST an image to /predict")
            return
        if int(length) > _MOST_BYTES:
            self.close_connection = True
            reason = f"the image has more than {_MOST_BYTES // 2**20} MiB"
            self._answer_json({"problem": reason})
            return
        content = self.rfile.read(int(length))
        with self.server.lock:
            predictions = self.server.predictor.predict_content(content)
        if predictions.unreadable:
            self._answer_json({"problem": predictions.unreadable[0][1]})
            return
        best = predictions.best(0, _TOP)
        self._answer_json(
            {
                "model": self.server.title,
                "classes": [{"name": name, "probability": part} for name, part in best],
            }
        )

    def _is_own_host(self) -> bool:
        """Refuses pages of other sites whose name resolves to this machine (DNS rebinding)."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in ("127.0.0.1", "localhost"):
            return True
        self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"This page is only for this machine.")
        return False

    def _answer_json(self, value: dict[str, Any]) -> None:
        self._answer(HTTPStatus.OK, "application/json", json.dumps(value).encode())

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Prints nothing, because a line per request would hide the address."""
