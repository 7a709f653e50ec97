"""A datagram (or raw) socket: when the kernel received what it delivers, and who refused what was sent.

Guaranteed:

- With an address the socket is connected: only what the address sends is delivered, and ICMP errors about what was sent to it.
  Without one, each datagram says from where it came, and each refusal what could not be reached.
- A datagram's time is that of its arrival in the kernel (SO_TIMESTAMPNS), however late the event loop gets to read it; measured
  with a loop held up for 5 ms at a time, a round trip of 0.08 ms reads as 16 ms otherwise.
- An ICMP error is delivered as `Refused`, with the address of the machine that sent it (IP_RECVERR).

Not guaranteed: that an ICMP error is genuine. When the wall clock is set between a datagram's arrival and its reading, its time
is that of the reading.
"""

import errno
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import trio

from demesh.clock import packet_ns
from demesh.failure import Failed
from demesh.outcome import Outcome
from demesh.probes.icmp import Version, refusal

_SO_TIMESTAMPNS = 35
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_MSG_ERRQUEUE = 0x2000
_FROM_ICMP = (2, 3)
_ANCILLARY_BYTES_MAX = 256
_QUOTED_BYTES_MAX = 256
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_TIMESPEC = struct.Struct("@ll")


Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
"""As `socket.connect` takes it."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """`at_s` is when it arrived, on trio's clock; `source` who sent it, an address without a zone and a port."""

    data: bytes
    at_s: float
    source: tuple[str, int]


class Refused(Exception):
    """An ICMP error came. The message is a phrase without a full stop; `quoted` is what it repeats of what was sent.

    `target` is where that was sent to, as `Datagram.source` has it.
    """

    def __init__(self, message: str, quoted: bytes, target: tuple[str, int]) -> None:
        super().__init__(message)
        self.quoted = quoted
        self.target = target


def socket_address(address: str, port: int) -> tuple[socket.AddressFamily, Address]:
    """The family and the form that sockets take; `address` may have a zone (fe80::1%eth0). Raises Failed."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        family, *_, sockaddr = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)[0]
    except socket.gaierror:
        raise Failed(Outcome.ERROR, "no network: this node has no such interface") from None
    return family, sockaddr


class DatagramSocket:
    """Uses `plain`, which its owner closes. Without an `address` it is open to all. Raises OSError if that cannot be sent to."""

    def __init__(self, plain: socket.socket, address: Address | None) -> None:
        self._socket = plain
        self._version: Version = 4 if plain.family == socket.AF_INET else 6
        self._errors: deque[Refused] = deque()
        self._refused = False
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if self._version == 4:
            plain.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        else:
            plain.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        if address is not None:
            plain.connect(address)
        self._peer = _host(address) if address is not None else None
        self._opened_s = trio.current_time()

    def send(self, data: bytes, target: Address | None = None) -> float:
        """Sends at once, from an open socket to `target`; returns when, on trio's clock.

        Raises OSError for what keeps this node from sending.
        """
        sent_s = trio.current_time()
        try:
            self._send(data, target)
        except OSError:
            # An ICMP error about an earlier datagram is reported here as well.
            self._collect_errors()
            if not self._refused:
                raise
            self._send(data, target)
        return sent_s

    def _send(self, data: bytes, target: Address | None) -> None:
        if target is None:
            self._socket.send(data)
        else:
            self._socket.sendto(data, target)

    async def receive(self, bytes_max: int) -> Datagram:
        """The next datagram, at most `bytes_max` bytes of it. Raises Refused; OSError if this node's network broke."""
        while True:
            if self._errors:
                await trio.lowlevel.checkpoint()
                raise self._errors.popleft()
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data, ancillary, _, source = self._socket.recvmsg(bytes_max, _ANCILLARY_BYTES_MAX)
            except OSError as error:
                self._collect_errors()
                if not self._refused and error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
                continue
            # A datagram socket for ICMP is connected, and still hears replies from elsewhere.
            if self._peer not in (None, _host(source)):
                continue
            return Datagram(data, self._arrival_s(ancillary), _endpoint(source))

    def _arrival_s(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        wall_ns = packet_ns()
        now_s = trio.current_time()  # after it: what comes between makes an arrival late, never too early
        for level, type_, data in ancillary:
            if (level, type_) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                waited_s = (wall_ns - seconds * 1_000_000_000 - nanoseconds) / 1_000_000_000
                if 0 <= waited_s <= now_s - self._opened_s:
                    return now_s - waited_s
        return now_s

    def _collect_errors(self) -> None:
        """Empties the socket's error queue. The kernel may raise the errno of an error after we have taken it from there."""
        with suppress(OSError):
            while True:
                quoted, ancillary, _, target = self._socket.recvmsg(
                    _QUOTED_BYTES_MAX, _ANCILLARY_BYTES_MAX, _MSG_ERRQUEUE
                )
                self._refused = True
                for level, type_, data in ancillary:
                    if (level, type_) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                        self._note(data, quoted, target)

    def _note(self, data: bytes, quoted: bytes, target: Address) -> None:
        _errno, origin, type_, code, *_ = _EXTENDED_ERROR.unpack_from(data)
        if origin in _FROM_ICMP and (sentence := refusal(self._version, type_, code)):
            offender = _offender(data[_EXTENDED_ERROR.size :])
            said = f"{sentence}, says {offender}" if offender else sentence
            self._errors.append(Refused(said, quoted, _endpoint(target)))


def _host(address: Address) -> str:
    return str(address[0]).partition("%")[0]


def _endpoint(address: Address) -> tuple[str, int]:
    # Of a raw socket the second is a number of the protocol; nobody asks for it.
    return _host(address), address[1] if isinstance(address[1], int) else 0


def _offender(sockaddr: bytes) -> str:
    """The address in a sockaddr; empty if it holds none."""
    if len(sockaddr) < 2:
        return ""
    (family,) = struct.unpack_from("=H", sockaddr)
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return str(IPv4Address(sockaddr[4:8]))
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return str(IPv6Address(sockaddr[8:24]))
    return ""
