"""Where this node accepts connections: sockets that are bound here, and served in a task that is ours.

The library's own listener serves on trio's system nursery, where an exception ends the whole process, and listens with
SO_REUSEPORT, by which two nodes share a port without noticing, each getting half of the connections.

Guaranteed: a port that anybody listens at cannot be had, and is named with the remedy; what ends the accepting of connections
ends the nursery, and so the network, by NetworkError; nothing that one connection does ends it.
"""

import errno
import ipaddress
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from functools import partial

import trio
from libp2p.abc import IListener
from libp2p.utils.multiaddr_utils import multiaddr_from_socket
from multiaddr import Multiaddr

from demesh.address import address_text
from demesh.errors import NetworkError

logger = logging.getLogger(__name__)

BACKLOG = 128


class Bound:
    """Sockets that listen already and are not served yet, by multiaddr."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}

    def bind(self, host: str, port: int, others: Collection[tuple[str, int]] = ()) -> Multiaddr:
        """Listen at `host` (an IP address) and `port`, 0 for any; returns where. Raises NetworkError.

        `others` are all that this node listens at: an IPv6 wildcard leaves IPv4 alone if one of them is of IPv4.
        """
        where = address_text(host, port)
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            raise NetworkError(f"Cannot listen at {where}: {host} is not an IP address.") from None
        sock = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run may still fade
            if ip.version == 6 and any(":" not in other and at == port for other, at in others):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise NetworkError(
                    f"{where} is taken by another process (a second node?). Choose another port with `--listen HOST:PORT`."
                ) from None
            raise NetworkError(f"Cannot listen at {where}: {os.strerror(error.errno or 0)}.") from None
        address = multiaddr_from_socket(sock)
        self._sockets[str(address)] = sock
        return address

    def take(self, address: Multiaddr) -> trio.SocketListener:
        """Raises KeyError."""
        return trio.SocketListener(trio.socket.from_stdlib_socket(self._sockets.pop(str(address))))

    def close(self) -> None:
        """Close what was not taken."""
        while self._sockets:
            self._sockets.popitem()[1].close()


class Listener(IListener):
    """Serves sockets of `bound` in `nursery`. `accept` gets each connection, which is closed once it returns."""

    def __init__(
        self, bound: Bound, nursery: trio.Nursery, accept: Callable[[trio.SocketStream], Awaitable[None]]
    ) -> None:
        self._bound = bound
        self._nursery = nursery
        self._accept = accept
        self._scope = trio.CancelScope()
        self._listeners: dict[Multiaddr, trio.SocketListener] = {}
        self.accepted: Counter[Multiaddr] = Counter()
        """How many connections were ever taken up, by where it listens."""

    async def listen(self, maddr: Multiaddr) -> None:
        self._listeners[maddr] = self._bound.take(maddr)
        await self._nursery.start(self._serve, maddr)

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        return tuple(self._listeners)

    async def close(self) -> None:
        self._scope.cancel()
        for listener in self._listeners.values():
            await listener.aclose()
        self._listeners.clear()

    async def _serve(self, maddr: Multiaddr, task_status: trio.TaskStatus[None]) -> None:
        failed: BaseException | None = None
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    contained = partial(self._contained, maddr)
                    await nursery.start(trio.serve_listeners, contained, [self._listeners[maddr]])
                    task_status.started()
            except* Exception as group:  # noqa: BLE001 - raised below
                failed = group
        if failed:
            raise NetworkError(f"It accepts no connections at {maddr} any more.") from failed

    async def _contained(self, maddr: Multiaddr, stream: trio.SocketStream) -> None:
        self.accepted[maddr] += 1
        try:
            await self._accept(stream)
        except Exception as error:  # noqa: BLE001 - it would end the listening
            logger.debug("An accepted connection ended with %r.", error)
