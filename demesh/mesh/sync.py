"""Sync, `/demesh/sync/1`: how one node gets what another one holds and it lacks. The messages and both sides' decisions.

    puller                                  server
    HELLO versions, mesh id, digest  ──>
                                     <──    HELLO version, mesh id, digest
                                     <──    VECTOR rows                     unless the digests are equal
    PULL log, first, last            ──>
                                     <──    PAGE log, envelopes             as often as the puller asks
    KEPT log, below                  ──>                                    of a log that the server has shortened
                                     <──    PAGE log, envelopes             what it kept, the newest first
    closes

What a server has forgotten of a log is not asked for: the puller gets what follows it, then what the server kept from before,
and takes both at once (`Adoption`).

A session pulls one way; nodes that lack something on both sides run one session each. It keeps no state: whatever breaks
off is found again by the next vector. Every message is CBOR of the subset in `demesh.log.codec` behind its length as four
bytes, big-endian. The server answers with REFUSED, a code and a sentence, to what it cannot do.

This module is sans-IO: `Server` and `Puller` take one message at a time and say what to send; `demesh.mesh.session` moves the
bytes. They check the form; `demesh.log.chain` checks entries. Malformed fields raise EntryError, all else SyncError.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.chain import LogState, vector, vector_digest
from demesh.log.codec import Fields, Value, decode, encode, values
from demesh.log.entry import Entry, Kind, entry_of
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
class Adoption:
    """A log that can only be taken from behind `before` on: what is kept up to there, and what follows, both in order."""

    log: bytes
    before: Head
    kept: tuple[Entry, ...]
    following: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page brought that can be taken now: the adoption, if any, first."""

    entries: Sequence[Entry] = ()
    adoption: Adoption | None = None


def refusal(code: Refused, sentence: str) -> bytes:
    return encode([Message.REFUSED, code, sentence])


class Server:
    """Answers one puller. `states` are the heads when the session began."""

    def __init__(self, mesh_id: bytes, states: Iterable[LogState]) -> None:
        self._mesh_id = mesh_id
        self._states = {state.log: state for state in states}
        self._greeted = False

    def greet(self, data: bytes) -> list[bytes]:
        """The answer to the puller's first message. Raises SyncError if there is nothing to add to it: then close."""
        _, fields = _fields(data, Message.HELLO)
        versions = fields.uints("versions", 16, 255)
        mesh_id = fields.octets("mesh id", 16)
        digest = fields.octets("digest", 32)
        if VERSION not in versions:
            return [refusal(Refused.VERSION, f"this node speaks version {VERSION} of sync")]
        if mesh_id != self._mesh_id:
            said = f"this node belongs to mesh {self._mesh_id.hex()[:8]}, not to {mesh_id.hex()[:8]}"
            return [refusal(Refused.MESH, said)]
        self._greeted = True
        own_digest = vector_digest(self._states.values())
        hello = encode([Message.HELLO, VERSION, self._mesh_id, own_digest])
        if digest == own_digest:
            return [hello]
        return [hello, encode([Message.VECTOR, values(vector(self._states.values()))])]

    def wanted(self, data: bytes) -> Want | WantKept:
        """What a later message of the puller asks for. Raises SyncError for anything else."""
        kind, fields = _fields(data, Message.PULL, Message.KEPT)
        log = fields.octets("log id", 16)
        if kind == Message.KEPT:
            want = WantKept(log, fields.uint("below", limits.SEQ_MAX))
        else:
            want = Want(log, fields.uint("first", limits.SEQ_MAX), fields.uint("last", limits.SEQ_MAX))
        backwards = isinstance(want, Want) and want.first > want.last
        if not self._greeted or log not in self._states or backwards:
            raise SyncError("the peer asked for what was not offered", Refused.MALFORMED)
        return want

    @staticmethod
    def page(want: Want | WantKept, entries: Sequence[Entry]) -> bytes:
        """`entries` as the answer to `want`: what stands in a row is cut after the last signed one."""
        sent = lean(entries) if isinstance(want, Want) else entries
        return encode([Message.PAGE, want.log, [[entry.body, entry.signature] for entry in sent]])


def lean(entries: Sequence[Entry]) -> list[Entry]:
    """`entries` up to the last signed one. What the last signature vouches for need not carry its own: it is left out.

    Only results are stripped: whatever is kept when they are forgotten must be provable by itself.
    """
    last = max((index for index, entry in enumerate(entries) if entry.signature), default=-1)
    kept = list(entries[: last + 1])
    return [
        replace(entry, signature=b"") if index < last and entry.kind == Kind.RESULTS else entry
        for index, entry in enumerate(kept)
    ]


class Puller:
    """Gets from one server what `states` lack. The caller takes each page in before it asks for the next message."""

    def __init__(
        self, mesh_id: bytes, states: Iterable[LogState], is_gone: Callable[[bytes], bool] = lambda log: False
    ) -> None:
        """`is_gone` tells of which logs nothing is wanted."""
        self._mesh_id = mesh_id
        self._states = {state.log: state for state in states}
        self._is_gone = is_gone
        self._wants: deque[Want | WantKept] = deque()
        self._asked: Want | WantKept | None = None
        self._jumps: dict[bytes, _Jump] = {}
        self._heads: dict[bytes, int] = {}
        self.conflicts: list[bytes] = []

    def hello(self) -> bytes:
        return encode([Message.HELLO, [VERSION], self._mesh_id, vector_digest(self._states.values())])

    def greeted(self, data: bytes) -> bool:
        """Take the server's HELLO; true if a VECTOR follows. Raises SyncError, with the server's sentence if it refused."""
        _, fields = _fields(data, Message.HELLO)
        if fields.uint("version", 255) != VERSION:
            raise SyncError("the peer answered in a version of sync that was not offered")
        if fields.octets("mesh id", 16) != self._mesh_id:
            raise SyncError("the peer belongs to another mesh", Refused.MESH)
        same = fields.octets("digest", 32) == vector_digest(self._states.values())
        if same:
            self._heads = {state.log: state.head.seq for state in self._states.values()}
        return not same

    def offered(self, data: bytes) -> None:
        """Take the server's VECTOR. Raises SyncError. `conflicts` then names logs with another entry at the same place."""
        _, fields = _fields(data, Message.VECTOR)
        for row in map(_row, fields.array("rows", limits.SYNC_VECTOR_ROWS_MAX)):
            self._heads[row.log] = row.head_seq
            if self._is_gone(row.log):
                continue
            state = self._states.get(row.log)
            first = max(state.head.seq + 1 if state else 0, row.pruned_to)
            if state and row.head_seq == state.head.seq and row.head_hash8 != state.head.hash[:8]:
                self.conflicts.append(row.log)
            if row.head_seq >= first:
                self._wants.append(Want(row.log, first, row.head_seq))
                if first > (state.head.seq + 1 if state else 0):
                    self._jumps[row.log] = _Jump()

    @property
    def held(self) -> Mapping[bytes, int]:
        """The heads that the server said it holds: sequence numbers by log."""
        return self._heads

    def head_seq(self, log: bytes) -> int:
        """The head of a log that the server offered."""
        return self._heads[log]

    def next_pull(self) -> bytes | None:
        """The next message to send; None when everything that was offered has been asked for."""
        if not self._wants:
            return None
        want = self._asked = self._wants.popleft()
        if isinstance(want, WantKept):
            return encode([Message.KEPT, want.log, want.below])
        return encode([Message.PULL, want.log, want.first, want.last])

    def answer(self, data: bytes) -> Answer:
        """What the server's PAGE brings. Raises SyncError. An empty page ends the log: the peer has lost it."""
        asked = self._asked
        assert asked is not None
        entries = _page(data, asked.log)
        if isinstance(asked, WantKept):
            return self._kept(asked, entries)
        for offset, entry in enumerate(entries):
            if entry.log != asked.log or entry.seq != asked.first + offset or entry.seq > asked.last:
                raise SyncError("the peer sent entries that were not asked for")
        if entries and entries[-1].seq < asked.last:
            self._wants.appendleft(Want(asked.log, entries[-1].seq + 1, asked.last))
        jump = self._jumps.get(asked.log)
        if jump is None or not entries:
            return Answer(entries)
        jump.entries = entries
        self._wants.appendleft(WantKept(asked.log, asked.first))
        return Answer()

    def _kept(self, asked: WantKept, entries: Sequence[Entry]) -> Answer:
        jump = self._jumps[asked.log]
        for entry in entries:
            if entry.log != asked.log or entry.seq >= asked.below or entry.kind == Kind.RESULTS or not entry.signature:
                raise SyncError("the peer sent entries that were not asked for")
            asked = WantKept(asked.log, entry.seq)
            jump.size += entry.size
        jump.kept += entries
        if entries and asked.below and jump.size < limits.ADOPTION_BYTES_MAX:
            self._wants.appendleft(asked)
            return Answer()
        del self._jumps[asked.log]
        first = jump.entries[0]
        before, kept = Head(first.seq - 1, first.prev), tuple(reversed(jump.kept))
        return Answer(jump.entries, Adoption(asked.log, before, kept, tuple(jump.entries)))

    def skip(self, log: bytes) -> None:
        """Ask no further for a log whose page could not be taken."""
        self._wants = deque(want for want in self._wants if want.log != log)


def _row(value: Value) -> Row:
    fields = Fields(value, "a row of the vector")
    row = Row(
        fields.octets("log id", 16),
        fields.uint("pruned to", limits.SEQ_MAX),
        fields.uint("head", limits.SEQ_MAX),
        fields.octets("hash", 8),
    )
    return row


class _Jump:
    """What is gathered of a log that cannot be taken from where we are."""

    __slots__ = ("entries", "kept", "size")

    def __init__(self) -> None:
        self.entries: Sequence[Entry] = ()
        self.kept: list[Entry] = []
        self.size = 0


def _page(data: bytes, log: bytes) -> list[Entry]:
    """The entries of a PAGE of `log`. Raises SyncError."""
    _, fields = _fields(data, Message.PAGE)
    if fields.octets("log id", 16) != log:
        raise SyncError("the peer answered with another log than was asked for")
    try:
        entries = [entry_of(each) for each in fields.array("envelopes", limits.SYNC_PAGE_BYTES_MAX)]
    except EntryError as error:
        raise SyncError(f"the peer sent a bad page: {error}") from None
    if len(entries) > limits.SYNC_PAGE_ENTRIES_MAX or sum(each.size for each in entries) > limits.SYNC_PAGE_BYTES_MAX:
        # Its last signature may vouch for all of it, and no page of ours would ever reach that far.
        raise SyncError("the peer sent a page longer than can be passed on")
    return entries


def _fields(data: bytes, *expected: Message) -> tuple[int, Fields]:
    """The type of a message and its fields. Raises SyncError for another type; a REFUSED speaks for itself."""
    try:
        fields = Fields(decode(data), "the message")
        kind = fields.uint("type", 255)
        if kind == Message.REFUSED:
            code = fields.uint("code", 255)
            raise SyncError(f"the peer refused: {fields.text('sentence')}", code)
    except EntryError as error:
        raise SyncError(f"the peer sent what is no message of sync: {error}", Refused.MALFORMED) from None
    if kind not in expected:
        raise SyncError("the peer sent a message that does not belong here", Refused.MALFORMED)
    return kind, fields
