"""Asks a running node over its Unix socket or at a URL."""

import http.client
import json
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.terminal import printable
from demesh.errors import DemeshError, NodeNotRunning, UsageError
from demesh.home import find_home, find_running


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str,
    data_dir: str | None,
    node_url: str | None,
    kind: type,
    method: str = "GET",
    document: Any = None,
    seconds: float = limits.API_CLIENT_SECONDS_MAX,
) -> Any:
    """The JSON of type `kind` that the node answers at `path`, to `document` if given. Raises UsageError, NodeNotRunning."""
    with _answer(path, data_dir, node_url, method, document, seconds) as (where, response):
        answer = json.loads(response.read(limits.API_ANSWER_BYTES_MAX))
        if not isinstance(answer, kind):
            raise NodeNotRunning(f"What answers at {where} is no demesh node.")
        return answer


def ask_lines(
    path: str, data_dir: str | None, node_url: str | None, document: Any, seconds: float
) -> Iterator[dict[str, Any]]:
    """The objects that the node answers to `document`, one a line, each within `seconds` of the one before.

    Raises UsageError, NodeNotRunning.
    """
    with _answer(path, data_dir, node_url, "POST", document, seconds) as (where, response):
        while line := response.readline(limits.API_LINE_BYTES_MAX):
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise NodeNotRunning(f"What answers at {where} is no demesh node.")
            yield answer


@contextmanager
def _answer(
    path: str, data_dir: str | None, node_url: str | None, method: str, document: Any, seconds: float
) -> Generator[tuple[str, http.client.HTTPResponse]]:
    """Where the node was found, and its answer, whose status is 200. Raises UsageError, NodeNotRunning."""
    headers: dict[str, str] = {}
    starting = False
    if document is not None:
        headers["Content-Type"] = "application/json"
    if node_url:
        where, connection = node_url, _connect_url(node_url, seconds)
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
    else:
        running = find_running(find_home(data_dir))
        starting = running.starting
        where, connection = running.socket, UnixConnection(running.socket, seconds)
    try:
        connection.request(method, path, None if document is None else json.dumps(document), headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refused(where, response.status, response.read(limits.API_ANSWER_BYTES_MAX))
        yield where, response
    except PermissionError:
        raise UsageError(
            f"No permission to use {where}; ask as the user that runs the node, or use --node URL."
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if starting:
            raise NodeNotRunning(
                "The node is starting and answers nobody yet; its diagnostic log says what takes its time."
            ) from None
        raise NodeNotRunning(f"The node at {where} does not answer: {str(error) or type(error).__name__}.") from None
    finally:
        connection.close()


def _token() -> str | None:
    context = click.get_current_context(silent=True)
    token = context.meta.get(options.TOKEN) if context else None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError("The token holds a character that none has; copy it as `demesh token new` printed it.")
    return token


def _refused(where: str, status: int, body: bytes) -> DemeshError:
    """The error for an answer that is none."""
    said = _sentence(body)
    if said is None:
        return NodeNotRunning(f"What answers at {where} is no node that can help: HTTP status {status}.")
    if status == 401:
        return UsageError(
            f"The node at {where} does not know who asks. Make a token on its machine with `demesh token new --read`, and "
            "give it here with --token or in DEMESH_TOKEN."
        )
    return UsageError(f"The node at {where} refuses: {said}")


def _sentence(body: bytes) -> str | None:
    """What a node says when it refuses."""
    try:
        said = json.loads(body)
        return str(printable(said["error"]))
    except (ValueError, KeyError, TypeError):
        return None


def _connect_url(url: str, seconds: float) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{url!r} is not the URL of a node's API; one looks like http://127.0.0.1:8470.")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=seconds)
