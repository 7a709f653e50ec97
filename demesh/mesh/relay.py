"""A round trip through a TURN server by two members, `/demesh/relay/1`: the messages, and their order on either side. Pure.

    asker: has a relayed address              helper
    WHERE server, port                  ──>   asks the server (STUN) which address it sees this node at
                                        <──   HERE address
    SEND relayed, port, token           ──>   sends the token's datagram there, from that same socket
                                        <──   SENT count
                                        <──   REFUSED code, sentence          instead, at any time

The asker lets `address` through at the server (CreatePermission) before it says SEND. That the datagram comes out of the relay
proves the way from the helper through the server to the asker; who is told SENT and sees nothing knows that the relay lost it.
The datagram is fixed words and a hash of the token, so nobody has another's node say what it likes to anybody.

One round trip a stream. Addresses are IP addresses, never names. Messages are framed as those of sync, refusals are those
of `demesh.mesh.ask`. Malformed fields raise EntryError, all else SyncError.
"""

from enum import IntEnum
from hashlib import sha256
from ipaddress import ip_address

from demesh import limits
from demesh.address import Spot
from demesh.errors import EntryError, SyncError
from demesh.log.codec import Fields, decode, encode
from demesh.mesh.ask import No, Refused

TOKEN_BYTES = 32
_WORDS = b"demesh relay 1: "
_HASH_BYTES = 16
_PORT_MAX = 65_535
_COUNT_MAX = 16


class Message(IntEnum):
    WHERE = 1
    HERE = 2
    SEND = 3
    SENT = 4
    REFUSED = 5


def where(server: Spot) -> bytes:
    return encode([Message.WHERE, server.address, server.port])


def read_where(data: bytes) -> Spot:
    """The server that is meant. Raises EntryError, SyncError."""
    return _spot(_fields(data, Message.WHERE)[1])


def here(address: str) -> bytes:
    return encode([Message.HERE, address])


def read_here(data: bytes) -> str | No:
    """The address at which the server sees the helper. Raises EntryError, SyncError."""
    kind, fields = _fields(data, Message.HERE, Message.REFUSED)
    return _no(fields) if kind == Message.REFUSED else _address(fields)


def send(relayed: Spot, token: bytes) -> bytes:
    return encode([Message.SEND, relayed.address, relayed.port, token])


def read_send(data: bytes) -> tuple[Spot, bytes]:
    """Where to, and what. Raises EntryError, SyncError."""
    fields = _fields(data, Message.SEND)[1]
    return _spot(fields), fields.octets("token", TOKEN_BYTES)


def datagram(token: bytes) -> bytes:
    """What a helper sends to the relayed address, and the asker waits for."""
    return _WORDS + sha256(_WORDS + token).digest()[:_HASH_BYTES]


def sent(count: int) -> bytes:
    return encode([Message.SENT, count])


def read_sent(data: bytes) -> int | No:
    """How many datagrams the helper has sent. Raises EntryError, SyncError."""
    kind, fields = _fields(data, Message.SENT, Message.REFUSED)
    return _no(fields) if kind == Message.REFUSED else fields.uint("count", _COUNT_MAX)


def refusal(code: Refused, sentence: str) -> bytes:
    return encode([Message.REFUSED, code, sentence[: limits.TEXT_CHARS_MAX]])


def _no(fields: Fields) -> No:
    return No(fields.uint("code", 255), fields.text("sentence"))


def _spot(fields: Fields) -> Spot:
    address, port = _address(fields), fields.uint("port", _PORT_MAX)
    if not port:
        raise EntryError("shape", "the message: no port")
    return Spot(address, port)


def _address(fields: Fields) -> str:
    try:
        return str(ip_address(fields.text("address", limits.NAME_CHARS_MAX)))
    except ValueError:
        raise EntryError("shape", "the message: no IP address") from None


def _fields(data: bytes, *expected: Message) -> tuple[int, Fields]:
    fields = Fields(decode(data), "the message")
    if (kind := fields.uint("type", 255)) not in expected:
        raise SyncError("the peer sent a message that does not belong here", Refused.MALFORMED)
    return kind, fields
