"""Sync, `/demesh/sync/1`: how one node gets what another one holds and it lacks. The messages.

    puller                                  server
    HELLO versions, mesh id, digest, writes  ──>
                                     <──    HELLO version, mesh id, digest, writes, up time
                                     <──    VECTOR rows                     unless the digests are equal
    PULL log, first, last            ──>
                                     <──    PAGE log, envelopes             as often as the puller asks
    KEPT log, below                  ──>                                    of a log that the server has shortened
                                     <──    PAGE log, envelopes             what it kept, the newest first
    EVIDENCE log                     ──>                                    of a log that is forked, by the server's row
                                     <──    PROOF log, proof                `demesh.log.evidence`
    closes

What a server has forgotten of a log is not asked for: the puller gets what follows it, then what the server kept from before,
and takes both at once (`Adoption`).

`writes` names the log that the sender is writing now, empty while it has not written any yet. What stands at the head of that
log comes from its author, which is true of no other, and the server's up time tells how old it is.

A session pulls one way; nodes that lack something on both sides run one session each. It keeps no state: whatever breaks
off is found again by the next vector. Every message is CBOR of the subset in `demesh.log.codec` behind its length as four
bytes, big-endian. The server answers with REFUSED, a code and a sentence, to what it cannot do.

Both sides are sans-IO: `demesh.mesh.sync_server` and `demesh.mesh.sync_puller` take one message at a time and say what to send;
`demesh.mesh.session` moves the bytes. They check the form; `demesh.log.chain` checks entries. Malformed fields raise
EntryError, all else SyncError.
"""

from dataclasses import dataclass
from enum import IntEnum

from demesh import limits
from demesh.errors import EntryError, SyncDeclined, SyncError
from demesh.log.codec import Fields, decode, encode
from demesh.log.entry import Entry
from demesh.log.head import Head

VERSION = 1
LENGTH_BYTES = 4


class Message(IntEnum):
    HELLO = 1
    VECTOR = 2
    PULL = 3
    PAGE = 4
    REFUSED = 5
    KEPT = 6
    EVIDENCE = 7
    PROOF = 8


class Refused(IntEnum):
    """Why a server says no."""

    VERSION = 1  # no common version
    MESH = 2  # of another mesh
    BUSY = 3  # too many sessions; try later
    MALFORMED = 4  # the message makes no sense here


@dataclass(frozen=True, slots=True)
class Row:
    """What a node holds of one log."""

    log: bytes
    pruned_to: int
    head_seq: int
    head_hash8: bytes
    fork: tuple[int, bytes] | None = None
    """The rank of the fork that it has a proof of (`demesh.log.evidence.Fork`)."""


@dataclass(frozen=True, slots=True)
class Want:
    """A range of one log to pull, both ends included."""

    log: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class WantKept:
    """What is kept of a shortened log from before `below`, the newest first."""

    log: bytes
    below: int


@dataclass(frozen=True, slots=True)
class WantProof:
    """The proof that a log is forked."""

    log: bytes


@dataclass(frozen=True, slots=True)
class Adoption:
    """A log that can only be taken from behind `before` on: what is kept up to there, and what follows, both in order."""

    log: bytes
    before: Head
    kept: tuple[Entry, ...]
    following: tuple[Entry, ...]


def read_writes(fields: Fields) -> bytes:
    """A field at the end of a HELLO, which earlier versions do not have."""
    return fields.octets("log that is written", 0, 16) if fields.more else b""


def read_up_ms(fields: Fields) -> int | None:
    """The field after that in a server's HELLO, which earlier versions do not have either."""
    return fields.uint("up time", limits.TIME_MS_MAX) if fields.more else None


def refusal(code: Refused, sentence: str) -> bytes:
    return encode([Message.REFUSED, code, sentence])


def fields_of(data: bytes, *expected: Message) -> tuple[int, Fields]:
    """The type of a message and its fields. Raises SyncError for another type; a REFUSED speaks for itself."""
    try:
        fields = Fields(decode(data), "the message")
        kind = fields.uint("type", 255)
        if kind == Message.REFUSED:
            code = fields.uint("code", 255)
            raise SyncDeclined(f"the peer refused: {fields.text('sentence')}", code)
    except EntryError as error:
        raise SyncError(f"the peer sent what is no message of sync: {error}", Refused.MALFORMED) from None
    if kind not in expected:
        raise SyncError("the peer sent a message that does not belong here", Refused.MALFORMED)
    return kind, fields
