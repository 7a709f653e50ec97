"""Serves the API over HTTP, inside the node's nursery: hypercorn's protocol on listeners and streams of our own.

Guarantees: no client holds the node up, whether it sends slowly, reads nothing or opens many connections; all of them end
with the server, at once.
"""

import ipaddress
import logging
import os
import socket
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from demesh import limits
from demesh.address import address_text
from demesh.api.app import ApiNode, make_app
from demesh.api.connection import BoundedStream, Connection, closed_when_cancelled
from demesh.api.guard import Access
from demesh.api.joining import KeyRotation
from demesh.errors import UsageError
from demesh.metrics import REFUSED
from demesh.tokens import TokenCheck

log = logging.getLogger(__name__)
_BACKLOG = 128


class ApiServer:
    """The API at `listen` (host and port, or None) and at the Unix socket `socket_path`; `hosts` are more names to answer to."""

    def __init__(
        self,
        listen: tuple[str, int] | None,
        socket_path: Path,
        tokens: TokenCheck,
        hosts: tuple[str, ...] = (),
    ) -> None:
        """Raises UsageError unless `listen` is free, and on loopback if there is no token."""
        self._listen = listen
        self._socket_path = socket_path
        self._access = Access(tokens, listen[0] if listen else None, frozenset(host.lower() for host in hosts))
        self._places = trio.CapacityLimiter(limits.API_CONNECTIONS_MAX)
        if listen is not None:
            _check_listen(*listen, tokens)

    async def run(
        self, node: ApiNode, rotation: KeyRotation, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; started when listening. Raises UsageError."""
        serve = partial(
            self._connection,
            ASGIWrapper(cast(Any, make_app(node, self._access, rotation))),
            _config(),
            WorkerContext(None),
            ConnectionState(LifespanState()),
        )
        self._socket_path.unlink(missing_ok=True)
        try:
            listeners = [_unix_listener(self._socket_path)]
            if self._listen is not None:
                listeners.append(_listener(_bound(*self._listen)))
            await trio.serve_listeners(serve, listeners, task_status=cast(Any, task_status))
        finally:
            self._socket_path.unlink(missing_ok=True)

    async def _connection(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: trio.SocketStream,
    ) -> None:
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            REFUSED.labels("api", "connections").inc()
            stream.socket.close()
            return
        try:
            async with closed_when_cancelled(stream):
                await Connection(app, config, context, state, cast(Any, BoundedStream(stream)))
        except Exception as error:  # noqa: BLE001 whatever a client does ends its own connection only
            log.warning("A connection to the API failed: %s", type(error).__name__)
        finally:
            self._places.release()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("demesh.api.server")
    config.loglevel = "WARNING"
    config.include_server_header = False
    return config


def _unix_listener(path: Path) -> trio.SocketListener:
    """For this user; and for its group, if somebody let the group, and nobody else, into the directory."""
    shared = stat.S_IMODE(path.parent.stat().st_mode) & 0o017 == 0o010
    server = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o117 if shared else 0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    return _listener(server)


def _listener(server: socket.socket) -> trio.SocketListener:
    server.listen(_BACKLOG)
    server.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(server))


def _bound(host: str, port: int) -> socket.socket:
    """A socket at that address. Raises UsageError."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such address"
        raise UsageError(
            f"The API cannot listen on {address_text(host, port)}: {reason}. Choose another with --api, or --api none."
        ) from None
    return server


def _check_listen(host: str, port: int, tokens: TokenCheck) -> None:
    if tokens.empty and not _is_loopback(host):
        raise UsageError(
            f"The API cannot listen on {address_text(host, port)}: it could be reached from elsewhere, and there is no token "
            f"to tell who may ask. Make one with `demesh token new`, or use 127.0.0.1:{port}."
        )
    _bound(host, port).close()


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
