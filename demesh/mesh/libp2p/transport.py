"""TCP with the swarm key: what libp2p dials and listens with.

Guaranteed, on every connection in either direction: PskStream around the socket, TCP_NODELAY (trio's default), and
TCP_USER_TIMEOUT, so that a vanished peer is noticed within TCP_USER_TIMEOUT_MS of unacknowledged data. On accepted ones
also the caps of `door`, and this:

The library keeps an accepted connection's handler, and with it one of the inbound slots, until the whole swarm ends; a
node would go deaf after as many accepted connections as it has slots. Here the handler is cancelled when its connection
closes, once it has nothing left to do but wait.
"""

import ipaddress
import logging
import socket
from collections.abc import Sequence

import trio
from libp2p.abc import IListener, IRawConnection
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from multiaddr import Multiaddr

from demesh import limits
from demesh.identity import SwarmKey
from demesh.mesh.libp2p.door import Door
from demesh.mesh.libp2p.listener import Bound, Listener
from demesh.mesh.libp2p.psk import PskStream
from demesh.metrics import REFUSED

logger = logging.getLogger(__name__)


class InboundStream(PskStream):
    """An accepted connection. The swarm sets `upgraded` once the far end is a registered peer."""

    def __init__(self, inner: ReadWriteCloser, keys: Sequence[SwarmKey], remote: tuple[str, int]) -> None:
        super().__init__(inner, keys[0].psk, remote, [key.psk for key in keys[1:]])
        self.upgraded = trio.Event()


class PskTCP(TCP):
    """libp2p's TCP transport for the swarm keys `keys`: with any of them a connection is accepted; the newest is first.

    It listens with the sockets of `bound`, in `nursery`.
    """

    def __init__(self, keys: Sequence[SwarmKey], bound: Bound, nursery: trio.Nursery) -> None:
        super().__init__()
        self.keys = tuple(keys)
        self._bound = bound
        self._nursery = nursery
        self._own: dict[tuple[str, int], trio.Event] = {}  # our own connections to where we listen, by their address
        self.door = Door(limits.PEER_HALF_OPEN_MAX, limits.PEER_HALF_OPEN_PER_ADDRESS_MAX)
        self._open: set[PskStream] = set()

    async def use(self, keys: Sequence[SwarmKey]) -> None:
        """Accept these keys from now on, and close the connections that were made with others."""
        self.keys = tuple(keys)
        psks = [key.psk for key in keys]
        for stream in tuple(self._open):
            if not stream.closed.is_set() and not stream.may_be_of(psks):
                with trio.CancelScope() as scope:
                    scope.cancel()  # the socket is closed before the first checkpoint
                    await stream.close()

    async def connect(self, host: str, port: int, key: SwarmKey | None = None) -> PskStream:
        """A connection to `host` (an IP address), with the newest key unless another is named. Raises OSError."""
        sock = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            _tune(sock)
            await sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        stream = PskStream(TrioTCPStream(trio.SocketStream(sock)), (key or self.keys[0]).psk, (host, port))
        # Streams are forgotten when the next one is made: a dialled one has no task of its own that could see it close.
        self._open = {other for other in self._open if not other.closed.is_set()} | {stream}
        return stream

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        host, port = extract_ip_from_multiaddr(maddr), maddr.value_for_protocol("tcp")
        if not host or not port:
            raise OpenConnectionError(f"{maddr} names no IP address and TCP port.")
        try:
            return RawConnection(await self.connect(host, int(port)), True)
        except OSError as error:
            raise OpenConnectionError(f"{maddr} cannot be reached: {error}") from error

    async def dial_with_source(self, maddr: Multiaddr, source: tuple[str, int]) -> IRawConnection:
        # The inherited method, for hole punching, would hand out a connection without the swarm key.
        raise OpenConnectionError("Connections from a chosen port are not supported.")

    def create_listener(  # pyright: ignore[reportIncompatibleMethodOverride] what ITransport asks for is enough
        self, handler_function: THandler
    ) -> IListener:
        async def accept(stream: trio.SocketStream) -> None:
            await self._accept(TrioTCPStream(stream), handler_function)

        return Listener(self._bound, self._nursery, accept)

    async def reach_itself(self, host: str, port: int) -> None:
        """Return once a connection of our own to where we listen has been taken up; never, if none is. Raises OSError."""
        ip = ipaddress.ip_address(host)
        if ip.is_unspecified:
            host = "127.0.0.1" if ip.version == 4 else "::1"
        with trio.socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM) as sock:
            await sock.bind((host, 0))
            name = _address_of(sock.getsockname())
            taken = self._own[name] = trio.Event()
            try:
                await sock.connect((host, port))
                await taken.wait()
            finally:
                del self._own[name]

    async def close(self) -> None:
        """Close what is still open, without farewell. The swarm calls it last."""
        for stream in tuple(self._open):
            with trio.CancelScope() as scope:
                scope.cancel()  # the socket is closed before the first checkpoint
                await stream.close()
        self._open.clear()

    async def _accept(self, stream: TrioTCPStream, handler: THandler) -> None:
        # Whenever this returns, the listener closes the socket.
        sock = stream.stream.socket
        try:
            _tune(sock)
            remote = _address_of(sock.getpeername())
        except OSError:
            return  # gone before we looked
        if (taken := self._own.get(remote)) is not None:
            taken.set()
            return
        leave_door = self.door.enter(remote[0])
        if leave_door is None:
            REFUSED.labels("network", "half_open").inc()
            return
        inbound = InboundStream(stream, self.keys, remote)
        self._open.add(inbound)
        try:
            async with trio.open_nursery() as nursery:

                async def release() -> None:
                    await inbound.upgraded.wait()
                    leave_door()
                    await inbound.closed.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(release)
                await handler(inbound)
                nursery.cancel_scope.cancel()
        finally:
            leave_door()
            inbound.closed.set()
            self._open.discard(inbound)
            if not inbound.upgraded.is_set():
                logger.debug("A connection from %s ended before it was a peer.", remote)
                REFUSED.labels("network", "handshake").inc()


def _tune(sock: trio.socket.SocketType) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.TCP_USER_TIMEOUT_MS)


def _address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    """The IP address and port of a socket name; an IPv4 address that came over an IPv6 socket as what it is."""
    ip = ipaddress.ip_address(name[0].partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return str(ip.ipv4_mapped), name[1]
    return str(ip), name[1]
