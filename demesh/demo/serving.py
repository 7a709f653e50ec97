"""An HTTP server on a loopback port, in threads of this process. It may stop listening, and listen at the same port again.

Guarantees: no thread keeps the process from ending, and a client that breaks off writes nothing to the terminal.
"""

import random
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from demesh import limits
from demesh.errors import DemeshError

_POLL_SECONDS = 0.1
_LEAST_PORT = 20_000


def free_port(rng: random.Random) -> int:
    """A loopback port that nobody listens at, and that no outgoing connection is given meanwhile. Raises DemeshError."""
    end = _first_outgoing_port()
    for _ in range(limits.DEMO_PORT_TRIES_MAX):
        port = rng.randrange(_LEAST_PORT, end if end > _LEAST_PORT + 1_000 else 65_536)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise DemeshError("No free port was found on 127.0.0.1.")


def _first_outgoing_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


class QuietHandler(BaseHTTPRequestHandler):
    timeout = limits.DEMO_REQUEST_SECONDS_MAX

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class calls it so
        pass

    def reply(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # an HTTPServer would ask the resolver for its name

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who asked has gone


class Serving:
    """Serves with `handler` at a free port of its own from the start, until `close`."""

    def __init__(self, handler: type[QuietHandler], port: int) -> None:
        self._handler = handler
        self._server: _Server | None = None
        self.port = port
        self.open()

    def open(self) -> None:
        """Listen, if it does not."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self.port), self._handler)
            threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
