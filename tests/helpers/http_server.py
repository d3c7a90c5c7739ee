"""A local HTTP server that serves files well or misbehaves in every way a mirror can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """GET /BEHAVIOUR/NAME answers with the file NAME of the server, in the manner of BEHAVIOUR."""

    def do_GET(self) -> None:
        _, behaviour, name = self.path.split("/", 2)
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        body = self.server.files.get(name)  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            getattr(self, behaviour)(body) if body is not None else self.not_found(b"")

    def _send(self, body: bytes, length: int | None, status: int = 200) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def good(self, body: bytes) -> None:
        self._send(body, len(body))

    def no_length(self, body: bytes) -> None:
        self._send(body, None)

    def breaks_off(self, body: bytes) -> None:
        self._send(body[: len(body) // 2], len(body))
        self.close_connection = True

    def breaks_off_unannounced(self, body: bytes) -> None:
        self._send(body[: len(body) // 2], None)

    def lies_in_content(self, body: bytes) -> None:
        self._send(body[:-1] + bytes([body[-1] ^ 1]), len(body))

    def lies_in_length(self, body: bytes) -> None:
        self._send(body, len(body) - 10)

    def endless(self, body: bytes) -> None:
        self._send(body, None)
        while not self.server.closing.wait(0.001):  # type: ignore[attr-defined]
            self.wfile.write(b"x" * 65536)

    def login_page(self, body: bytes) -> None:
        page = b"<html>please log in</html>"
        self._send(page, len(page))

    def stalls(self, body: bytes) -> None:
        self._send(body[: len(body) // 2], len(body))
        self.wfile.flush()
        self.server.closing.wait(60)  # type: ignore[attr-defined]

    def stalls_before_answering(self, body: bytes) -> None:
        self.server.closing.wait(60)  # type: ignore[attr-defined]

    def drips(self, body: bytes) -> None:
        self._send(b"", len(body))
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.closing.wait(0.02):  # type: ignore[attr-defined]
                return

    def slow(self, body: bytes) -> None:
        self._send(b"", len(body))
        for start in range(0, len(body), 4096):
            self.wfile.write(body[start : start + 4096])
            self.wfile.flush()
            time.sleep(0.02)

    def not_found(self, body: bytes) -> None:
        self._send(b"not here", 8, status=404)

    def fails(self, body: bytes) -> None:
        self._send(b"sorry", 5, status=500)

    def hangs_up(self, body: bytes) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests read `requests`."""


class Server(ThreadingHTTPServer):
    """`files`: name -> contents; `requests`: the paths asked for, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.closing = files, [], threading.Event()

    def url(self, behaviour: str, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what is being tested."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """Run a server in a thread for as long as the block lasts."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
