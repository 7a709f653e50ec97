"""Serves the API over HTTP (`demesh.api.serving`): at a Unix socket, and at an address unless there shall be none."""

import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import trio

from demesh import limits
from demesh.address import address_text
from demesh.api.app import ApiNode, make_app
from demesh.api.guard import Access
from demesh.api.joining import KeyRotation
from demesh.api.serving import Doors, bound, listener, serve
from demesh.errors import UsageError
from demesh.tokens import TokenCheck

_WHAT = ("The API", "Choose another with --api, or --api none.")


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
        self._doors = Doors("api", limits.API_CONNECTIONS_MAX)
        if listen is not None:
            _check_listen(*listen, tokens)

    async def run(
        self, node: ApiNode, rotation: KeyRotation, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; started when listening. Raises UsageError."""
        self._socket_path.unlink(missing_ok=True)
        try:
            listeners = [_unix_listener(self._socket_path)]
            if self._listen is not None:
                listeners.append(listener(bound(*self._listen, *_WHAT)))
            await serve(make_app(node, self._access, rotation), listeners, self._doors, task_status=task_status)
        finally:
            self._socket_path.unlink(missing_ok=True)


def _unix_listener(path: Path) -> trio.SocketListener:
    """For this user; and for its group, if somebody let the group, and nobody else, into the directory."""
    shared = stat.S_IMODE(path.parent.stat().st_mode) & 0o017 == 0o010
    server = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o117 if shared else 0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    return listener(server)


def _check_listen(host: str, port: int, tokens: TokenCheck) -> None:
    if tokens.empty and not _is_loopback(host):
        raise UsageError(
            f"The API cannot listen on {address_text(host, port)}: it could be reached from elsewhere, and there is no token "
            f"to tell who may ask. Make one with `demesh token new`, or use 127.0.0.1:{port}."
        )
    bound(host, port, *_WHAT).close()


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
