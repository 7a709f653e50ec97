"""ICMP and ICMPv6 echo (RFC 792, RFC 4443) and error messages, without I/O.

A reply is ours if it holds our payload, which begins with random bytes: the identifier says nothing, since the kernel puts
its own into what goes through a datagram socket, and a raw socket hears everybody's replies.
"""

import struct
from typing import Literal

Version = Literal[4, 6]

_ECHO = struct.Struct("!BBHHH")
_REQUEST: dict[Version, int] = {4: 8, 6: 128}
ECHO_REPLY: dict[Version, int] = {4: 0, 6: 129}

_REFUSALS: dict[tuple[Version, int, int], str] = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 5): "source route failed",
    (4, 3, 6): "network unknown",
    (4, 3, 7): "host unknown",
    (4, 3, 9): "network prohibited",
    (4, 3, 10): "host prohibited",
    (4, 3, 13): "prohibited by a filter",
    (4, 11, 0): "hop limit reached",
    (6, 1, 0): "network unreachable",
    (6, 1, 1): "prohibited by a filter",
    (6, 1, 2): "beyond the scope of the source address",
    (6, 1, 3): "host unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "prohibited by a filter",
    (6, 1, 6): "route rejected",
    (6, 3, 0): "hop limit reached",
}
_REFUSING: dict[Version, tuple[int, ...]] = {4: (3, 11), 6: (1, 3)}
_NEEDS_FRAGMENTS = (4, 3, 4)


def encode_request(version: Version, ident: int, seq: int, payload: bytes) -> bytes:
    """An echo request; of version 6 without a checksum, which the kernel adds (RFC 3542)."""
    request = _ECHO.pack(_REQUEST[version], 0, 0, ident, seq) + payload
    if version == 6:
        return request
    return request[:2] + struct.pack("!H", checksum(request)) + request[4:]


def reply_seq(version: Version, message: bytes, payload: bytes) -> int | None:
    """The sequence number of the echo reply that `message` is, or None if it is anything but a reply to `payload`.

    `message` may begin with an IPv4 header, which raw sockets deliver.
    """
    if version == 4 and message and message[0] >> 4 == 4:
        message = message[4 * (message[0] & 0xF) :]
    if len(message) != _ECHO.size + len(payload):
        return None
    type_, code, _checksum, _ident, seq = _ECHO.unpack_from(message)
    if (type_, code) != (ECHO_REPLY[version], 0) or message[_ECHO.size :] != payload:
        return None
    return seq


def request_seq(version: Version, quoted: bytes, ident: int | None) -> int | None:
    """The sequence number of the echo request that an error message quotes; None if it is not one of `ident` (None: any)."""
    if len(quoted) < _ECHO.size:
        return None
    type_, _code, _checksum, quoted_ident, seq = _ECHO.unpack_from(quoted)
    return seq if type_ == _REQUEST[version] and ident in (None, quoted_ident) else None


def refusal(version: Version, type_: int, code: int) -> str | None:
    """What an error message means, as a phrase; None for those after which an answer may still come."""
    if type_ not in _REFUSING[version] or (version, type_, code) == _NEEDS_FRAGMENTS:
        return None
    return _REFUSALS.get((version, type_, code), f"unreachable (ICMP type {type_}, code {code})")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071).

    >>> checksum(bytes.fromhex("0001f203f4f5f6f7"))
    8717
    """
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
