"""STUN messages as values (RFC 8489, RFC 5780, RFC 8656; answers of RFC 3489 too): the only module that knows the codec.

Guaranteed: whatever bytes come, `read` gives a message or raises NotStun or Garbled. The message's length, the magic cookie,
every attribute's length and, where there is one, the fingerprint are verified. Who sent it, and whether it answers a
request of ours, is not looked at here.

Not guaranteed: texts are UTF-8 and nothing else; a user and a password go into the key as they are (no OpaqueString, RFC 8265),
by MD5 and SHA-1, which every server must still take.

Importing this costs 0.2 s, most of it asyncio's.
"""

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aioice import stun

Endpoint = tuple[str, int]
"""An address and a port."""

Method = Literal["BINDING", "ALLOCATE", "REFRESH", "CREATE_PERMISSION", "SEND", "DATA"]

HEADER_BYTES = 20
_HEADER = struct.Struct("!HH16s")
_ATTRIBUTE = struct.Struct("!HH")
_COOKIE = stun.COOKIE.to_bytes(4, "big")
_CHANGE_ADDRESS, _CHANGE_PORT = 4, 2  # RFC 5780, section 7.2


class NotStun(Exception):
    """No STUN message."""


class Garbled(Exception):
    """A STUN message that cannot be read. `id` is its transaction's."""

    def __init__(self, id_: bytes) -> None:
        super().__init__("the answer is STUN, but garbled")
        self.id = id_


@dataclass(frozen=True, slots=True)
class Request:
    """`id` is the sixteen bytes that the answer must repeat: the magic cookie and the transaction's own."""

    id: bytes
    method: Method
    wire: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """What was read. Of what is absent there is None, or nothing."""

    id: bytes
    method: str
    kind: Literal["request", "indication", "response", "error"]
    mapped: Endpoint | None = None
    """From where the server saw the request come."""
    other: Endpoint | None = None
    """The server's other address and other port (OTHER-ADDRESS, in RFC 3489 CHANGED-ADDRESS)."""
    error: tuple[int, str] | None = None
    software: str = ""
    realm: str = ""
    nonce: bytes = field(default=b"", repr=False)
    relayed: Endpoint | None = None
    lifetime_s: int | None = None
    peer: Endpoint | None = None
    data: bytes | None = field(default=None, repr=False)
    _beneath: stun.Message | None = field(default=None, repr=False)

    def signed_with(self, key: bytes) -> bool:
        """Whether it has a MESSAGE-INTEGRITY, made with this key."""
        try:
            return self._beneath is not None and self._beneath.check_message_integrity(key)
        except TypeError:  # it is compared with a value of any length
            return False


_KINDS: dict[int, Literal["request", "indication", "response", "error"]] = {
    stun.Class.REQUEST: "request",
    stun.Class.INDICATION: "indication",
    stun.Class.RESPONSE: "response",
    stun.Class.ERROR: "error",
}


def binding(*, change_address: bool = False, change_port: bool = False) -> Request:
    """A Binding request, without attributes unless the answer shall come from elsewhere: the oldest servers know no others."""
    change = _CHANGE_ADDRESS * change_address | _CHANGE_PORT * change_port
    return request("BINDING", {"CHANGE-REQUEST": change} if change else {})


def request(method: Method, attributes: Mapping[str, Any], key: bytes | None = None) -> Request:
    """With `attributes` by the names of the RFCs, signed with `key` if there is one."""
    return _encoded(stun.Class.REQUEST, method, attributes, key)


def indication(method: Method, attributes: Mapping[str, Any]) -> bytes:
    return _encoded(stun.Class.INDICATION, method, attributes, None).wire


def _encoded(class_: stun.Class, method: Method, attributes: Mapping[str, Any], key: bytes | None) -> Request:
    message = stun.Message(stun.Method[method], class_, os.urandom(12), dict(attributes))
    if key is not None:
        message.add_message_integrity(key)
    return Request(_COOKIE + message.transaction_id, method, bytes(message))


def long_term_key(user: str, realm: str, password: str) -> bytes:
    """RFC 8489, section 9.2.2."""
    return hashlib.md5(f"{user}:{realm}:{password}".encode(), usedforsecurity=False).digest()


def body_bytes(header: bytes) -> int:
    """How many bytes follow the HEADER_BYTES of a message. Raises NotStun."""
    type_, length, id_ = _HEADER.unpack(header)
    if type_ >> 14 or id_[:4] != _COOKIE:
        raise NotStun
    return length


def read(wire: bytes, classic_id: bytes | None = None) -> Message:
    """The message in `wire`. Raises NotStun or Garbled.

    `classic_id` is that of a request after RFC 3489, which had sixteen bytes of its own in place of the cookie.
    """
    if len(wire) < HEADER_BYTES:
        raise NotStun
    type_, _, id_ = _HEADER.unpack_from(wire)
    if type_ >> 14 or (id_[:4] != _COOKIE and id_ != classic_id):
        raise NotStun
    try:
        _verify_lengths(wire)
        message = stun.parse_message(wire)
    except (ValueError, IndexError, struct.error):  # UnicodeDecodeError is one
        raise Garbled(id_) from None
    known = message.attributes
    return Message(
        id=id_,
        method=message.message_method.name,
        kind=_KINDS[message.message_class],
        mapped=known.get("XOR-MAPPED-ADDRESS") or known.get("MAPPED-ADDRESS"),
        other=known.get("OTHER-ADDRESS") or known.get("CHANGED-ADDRESS"),
        error=known.get("ERROR-CODE"),
        software=known.get("SOFTWARE", ""),
        realm=known.get("REALM", ""),
        nonce=known.get("NONCE", b""),
        relayed=known.get("XOR-RELAYED-ADDRESS"),
        lifetime_s=known.get("LIFETIME"),
        peer=known.get("XOR-PEER-ADDRESS"),
        data=known.get("DATA"),
        _beneath=message,
    )


def classic(id_: bytes, mapped: Endpoint, other: Endpoint | None) -> bytes:
    """A Binding response after RFC 3489 with these attributes alone, which its oldest clients can read."""
    attributes = {"MAPPED-ADDRESS": mapped} | ({"CHANGED-ADDRESS": other} if other else {})
    plain = bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, id_[4:], attributes))
    return plain[:4] + id_ + plain[HEADER_BYTES:]


def _verify_lengths(wire: bytes) -> None:
    """Raises ValueError if an attribute reaches beyond the end: the codec takes what is there of it."""
    at = HEADER_BYTES
    while at < len(wire):
        if at + _ATTRIBUTE.size > len(wire):
            raise ValueError
        _, length = _ATTRIBUTE.unpack_from(wire, at)
        at += _ATTRIBUTE.size + length
        if at > len(wire):
            raise ValueError
        at += -length % 4  # which servers of RFC 3489 leave out at the end
