"""Something that answers HTTP as a node would: a canned document, at a URL or on the Unix socket of a home."""

import json
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from demesh.home import Home, HomeLock, Running


def _handler(answers: dict[str, Any], status: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))  # what is left unread resets the connection
            found = answers.get(self.path)
            if callable(found):
                found = found(self.headers)
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status if found is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 the base class calls it so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
            pass

        def address_string(self) -> str:
            return "a Unix socket has none"

    return Handler


@contextmanager
def _serving(server: socketserver.BaseServer) -> Generator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def url_answering(answers: dict[str, Any], status: int = 200) -> Generator[str]:
    """A URL at which the documents in `answers`, by path, can be had; one may be made from the request's headers."""
    server = socketserver.TCPServer(("127.0.0.1", 0), _handler(answers, status))
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def node_answering(home: Path, answers: dict[str, Any]) -> Generator[None]:
    """A home that is locked as by a running node, with its socket."""
    home.mkdir(exist_ok=True)
    lock = HomeLock(Home(home))
    path = home / "test.sock"
    lock.announce(Running(4242, str(path), None))
    try:
        with _serving(socketserver.UnixStreamServer(str(path), _handler(answers, 200))):
            yield
    finally:
        lock.release()
