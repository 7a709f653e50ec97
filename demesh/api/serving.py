"""HTTP on listeners of our own, inside the node's nursery: hypercorn's protocol, and a bound on connections.

Guarantees: no client holds the node up, whether it sends slowly, reads nothing or opens many connections; all of them end
with the server, at once.
"""

import ipaddress
import logging
import os
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from demesh.address import address_text
from demesh.api.connection import BoundedStream, Connection, closed_when_cancelled
from demesh.api.guard import Asgi
from demesh.errors import DemeshError, leaves
from demesh.metrics import REFUSED

log = logging.getLogger(__name__)
_BACKLOG = 128


class Doors:
    """Who is served at once: at most so many in all, and of one client, if that is bounded. Loopback is no client: a proxy may
    be there.
    """

    def __init__(self, room: str, connections_max: int, per_client_max: int | None = None) -> None:
        self.room = room
        self._connections_max = connections_max
        self._per_client_max = per_client_max
        self._clients: Counter[str] = Counter()

    def enter(self, client: str) -> bool:
        """Whether there is a place; who has one gives it back with `leave`. A refusal is counted."""
        if self._clients.total() >= self._connections_max:
            REFUSED.labels(self.room, "connections").inc()
            return False
        if client and self._per_client_max is not None and self._clients[client] >= self._per_client_max:
            REFUSED.labels(self.room, "client_connections").inc()
            return False
        self._clients[client] += 1
        return True

    def leave(self, client: str) -> None:
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]


async def serve(
    app: Asgi,
    listeners: Sequence[trio.SocketListener],
    doors: Doors,
    head_bytes_max: int | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started when listening. `head_bytes_max` bounds a request's line and headers."""
    wrapped, config, context = ASGIWrapper(cast(Any, app)), _config(head_bytes_max), WorkerContext(None)
    state = ConnectionState(LifespanState())

    async def connection(stream: trio.SocketStream) -> None:
        client = _client(stream)
        if not doors.enter(client):
            stream.socket.close()
            return
        try:
            async with closed_when_cancelled(stream):
                await Connection(wrapped, config, context, state, cast(Any, BoundedStream(stream, doors.room)))
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):  # it hung up in the middle
            REFUSED.labels(doors.room, "broken").inc()
            log.info("A client of the %s listener broke its connection off.", doors.room)
        except* Exception as errors:  # noqa: BLE001 whatever a client does ends its own connection only
            log.warning("A connection to the %s listener failed: %s", doors.room, _kinds(errors))
        finally:
            doors.leave(client)

    await trio.serve_listeners(connection, list(listeners), task_status=cast(Any, task_status))


def _kinds(error: BaseException) -> str:
    """What went wrong, without what it says: that may be a client's words."""
    return ", ".join(sorted({type(each).__name__ for each in leaves(error)}))


def bound(host: str, port: int, what: str, remedy: str) -> socket.socket:
    """A socket at that address. Raises DemeshError: `what` cannot listen there, and what to do about it.

    No UsageError, which nobody starts a node again after: what holds the port may end, and the address may come yet."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such address"
        raise DemeshError(f"{what} cannot listen on {address_text(host, port)}: {reason}. {remedy}") from None
    return server


def listener(server: socket.socket) -> trio.SocketListener:
    server.listen(_BACKLOG)
    server.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(server))


def _config(head_bytes_max: int | None) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("demesh.api.server")
    config.loglevel = "WARNING"
    config.include_server_header = False
    if head_bytes_max is not None:
        config.h11_max_incomplete_size = head_bytes_max
    return config


def _client(stream: trio.SocketStream) -> str:
    """Who is counted as one: an address of IPv4, a /64 of IPv6; empty for loopback, and for who is gone already."""
    try:
        address = ipaddress.ip_address(str(stream.socket.getpeername()[0]).partition("%")[0])
    except (OSError, ValueError, IndexError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return ""
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
