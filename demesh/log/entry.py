"""One signed record of a log, and its bytes (docs/protocol.md, "Entry").

    envelope = [body, signature]                              both byte strings, as CBOR
    body     = [1, log16, seq, prev32, wall_ms, up_ms, boot8, next_ms, kind, payload]      as CBOR
    hash     = BLAKE2b-256(body, person="demesh/entry/1")
    signature = Ed25519(node key, "demesh/entry/1" 0x00 mesh_id16 body)

The bytes of `body` are what is hashed, signed, stored and sent; they are never encoded again, so a field or kind that this
version does not know survives it unharmed. The chain links hash the unsigned body: a signature can be left out or made
anew without changing what an entry is.

Guarantees: `decode_body` and `decode_envelope` raise EntryError and nothing else, whatever the bytes. Not checked here: the
signature (`verify`), the chain (`demesh.log.chain`) and the payload (the kind's own module).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.head import Head

FORMAT = 1
SIGNATURE_BYTES = 64
NO_HASH = bytes(32)
"""What the first entry of a log names as its predecessor."""
NO_LOG = bytes(16)
"""The id of no log."""


_CONTEXT = b"demesh/entry/1"
_BODY_BYTES_MAX = limits.ENTRY_BYTES_MAX - SIGNATURE_BYTES - 6  # 6: the CBOR heads of the envelope


class Kind(IntEnum):
    """What an entry is about. A kind that is not listed is kept and passed on, and skipped by the view."""

    HELLO = 1
    PLAN = 2
    RESULTS = 3
    ROLLUP = 4
    CHECKPOINT = 5
    EVENT = 6
    BYE = 7
    CARRY = 8
    NOTICE = 9


KINDS_UNDERSTOOD = tuple(Kind)
KINDS_UNSIGNED = (Kind.RESULTS, Kind.ROLLUP)
"""The kinds whose signature may be left out inside a page that ends at a signed entry."""


class Entry(NamedTuple):
    """A decoded entry with the bytes it was decoded from. `signature` is empty where it was left out.

    A tuple, since millions are made: a frozen dataclass takes four times as long.
    """

    log: bytes
    seq: int
    prev: bytes
    wall_ms: int
    up_ms: int
    boot8: bytes
    next_ms: int
    kind: int
    payload: Value
    body: bytes
    hash: bytes
    signature: bytes

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)

    @property
    def size(self) -> int:
        """About the bytes of the envelope, never less."""
        return len(self.body) + len(self.signature) + 6


class Envelope(NamedTuple):
    """An entry as it is stored and sent on, whose body was not read. `signature` is empty where it was left out."""

    kind: int
    body: bytes
    hash: bytes
    signature: bytes

    @property
    def size(self) -> int:
        """As of `Entry`."""
        return len(self.body) + len(self.signature) + 6


@dataclass(frozen=True, slots=True)
class BadRow:
    """An entry in the store whose bytes are not what was stored."""

    log: bytes
    seq: int


def log_id(public_key: bytes, epoch_nonce: bytes) -> bytes:
    """The 16-byte id of the log that the owner of `public_key` (32 bytes) began with `epoch_nonce` (8 bytes)."""
    return hashlib.blake2b(b"demesh/log/1" + public_key + epoch_nonce, digest_size=16).digest()


def body_hash(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=32, person=_CONTEXT).digest()


def encode_body(
    log: bytes, seq: int, prev: bytes, wall_ms: int, up_ms: int, boot8: bytes, next_ms: int, kind: int, payload: Value
) -> bytes:
    """The body's bytes. Raises EntryError("too_large") if no envelope could hold them."""
    body = encode([FORMAT, log, seq, prev, wall_ms, up_ms, boot8, next_ms, int(kind), payload])
    if len(body) > _BODY_BYTES_MAX:
        raise EntryError("too_large", f"an entry of {len(body)} bytes; at most {_BODY_BYTES_MAX} fit")
    return body


def decode_body(body: bytes, signature: bytes = b"") -> Entry:
    """The entry in `body`. Raises EntryError: "too_large", "malformed", "shape", or "format" for a later format."""
    if len(body) > _BODY_BYTES_MAX:
        raise EntryError("too_large", f"an entry of {len(body)} bytes; at most {_BODY_BYTES_MAX} fit")
    if len(signature) not in (0, SIGNATURE_BYTES):
        raise EntryError("shape", f"a signature of {len(signature)} bytes")
    value = decode(body)
    if not _is_of_shape(value):
        _check_shape(value)
    fields: Any = value
    _, log, seq, prev, wall_ms, up_ms, boot8, next_ms, kind, payload = fields[:10]
    if (seq == 0) != (prev == NO_HASH):
        raise EntryError("shape", "exactly the first entry of a log links to nothing")
    return Entry(log, seq, prev, wall_ms, up_ms, boot8, next_ms, kind, payload, body, body_hash(body), signature)


def _is_of_shape(value: Value) -> bool:
    """The same as `_check_shape`, in a quarter of the time: every entry passes here."""
    if not isinstance(value, list) or len(value) < 10:
        return False
    format_, log, seq, prev, wall_ms, up_ms, boot8, next_ms, kind, payload = value[:10]
    return (
        (isinstance(log, bytes) and len(log) == 16)
        and (isinstance(prev, bytes) and len(prev) == 32)
        and (isinstance(boot8, bytes) and len(boot8) == 8)
        and (isinstance(seq, int) and seq <= limits.SEQ_MAX)
        and (isinstance(wall_ms, int) and wall_ms <= limits.TIME_MS_MAX)
        and (isinstance(up_ms, int) and up_ms <= limits.TIME_MS_MAX)
        and (isinstance(next_ms, int) and 1 <= next_ms <= limits.NEXT_MS_MAX)
        and (isinstance(kind, int) and kind < 2**16)
        and isinstance(payload, list)
        and format_ == FORMAT
    )


def _check_shape(value: Value) -> None:
    """Raises EntryError unless the value of a body has the fields that it must have."""
    fields = Fields(value, "the entry")
    if fields.uint("format", 255) != FORMAT:
        raise EntryError("format", "an entry of another format; this version reads format 1")
    fields.octets("log id", 16)
    fields.uint("sequence number", limits.SEQ_MAX)
    fields.octets("link", 32)
    fields.uint("wall clock", limits.TIME_MS_MAX)
    fields.uint("up time", limits.TIME_MS_MAX)
    fields.octets("boot id", 8)
    fields.uint("promise", limits.NEXT_MS_MAX, 1)
    fields.uint("kind", 2**16 - 1)
    fields.array("payload", limits.ENTRY_BYTES_MAX)


def by_log(entries: Iterable[Entry]) -> dict[bytes, list[Entry]]:
    """`entries` by the log they are of, each log's in the order given."""
    found: dict[bytes, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.log, []).append(entry)
    return found


def encode_envelope(entry: Entry) -> bytes:
    return encode([entry.body, entry.signature])


def decode_envelope(data: bytes) -> Entry:
    """The entry in an envelope, whose signature may be empty. Raises EntryError."""
    if len(data) > limits.ENTRY_BYTES_MAX:
        raise EntryError("too_large", f"an envelope of {len(data)} bytes; at most {limits.ENTRY_BYTES_MAX} are allowed")
    return entry_of(decode(data))


def entry_of(envelope: Value) -> Entry:
    """The entry in an envelope that is decoded already (as part of a message or a page). Raises EntryError."""
    if isinstance(envelope, list) and len(envelope) == 2:
        body, signature = envelope
        if isinstance(body, bytes) and isinstance(signature, bytes):
            return decode_body(body, signature)
    fields = Fields(envelope, "the envelope")
    return decode_body(fields.octets("body"), fields.octets("signature", 0, SIGNATURE_BYTES))


def sign(key: SigningKey, mesh_id: bytes, body: bytes) -> bytes:
    """The 64-byte signature of `body` for the mesh `mesh_id` (16 bytes)."""
    return key.sign(_CONTEXT + b"\0" + mesh_id + body).signature


def verify(public_key: bytes, mesh_id: bytes, entry: Entry) -> bool:
    """Whether the owner of `public_key` (32 bytes) signed `entry` for this mesh."""
    if len(entry.signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(entry.signature + _CONTEXT + b"\0" + mesh_id + entry.body, public_key)
    except (BadSignatureError, ValueError):
        return False
    return True
