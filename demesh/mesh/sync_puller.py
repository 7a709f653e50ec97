"""The puller's side of sync (`demesh.mesh.sync`): what it asks for, and what it takes of the answers.

Guarantees: an answer that was not asked for, or is larger than could be passed on, ends the session; a log that can only be taken
from its middle is given out whole, as an `Adoption`. Not checked here: whether entries are what their author signed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.chain import LogState, vector_digest
from demesh.log.codec import Fields, Value, encode
from demesh.log.entry import Entry, Kind, entry_of
from demesh.log.head import Head
from demesh.mesh.sync import VERSION, Adoption, Message, Refused, Row, Want, WantKept, fields_of, read_writes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page brought that can be taken now: the adoption, if any, first."""

    entries: Sequence[Entry] = ()
    adoption: Adoption | None = None


class Puller:
    """Gets from one server what `states` lack. The caller takes each page in before it asks for the next message."""

    def __init__(
        self,
        mesh_id: bytes,
        states: Iterable[LogState],
        writes: bytes = b"",
        is_unwanted: Callable[[bytes], bool] = lambda log: False,
    ) -> None:
        """`writes` is the log that this node is writing; `is_unwanted` tells of which logs nothing would be taken."""
        self.server_writes = b""
        """The log that the server is writing, once it has greeted."""
        self._mesh_id = mesh_id
        self._writes = writes
        self._is_unwanted = is_unwanted
        self._states = {state.log: state for state in states}
        self._wants: deque[Want | WantKept] = deque()
        self._asked: Want | WantKept | None = None
        self._jumps: dict[bytes, _Jump] = {}
        self._rows: dict[bytes, Row] = {}
        self.conflicts: list[bytes] = []

    def hello(self) -> bytes:
        return encode([Message.HELLO, [VERSION], self._mesh_id, vector_digest(self._states.values()), self._writes])

    def greeted(self, data: bytes) -> bool:
        """Take the server's HELLO; true if a VECTOR follows. Raises SyncError, with the server's sentence if it refused."""
        _, fields = fields_of(data, Message.HELLO)
        if fields.uint("version", 255) != VERSION:
            raise SyncError("the peer answered in a version of sync that was not offered")
        if fields.octets("mesh id", 16) != self._mesh_id:
            raise SyncError("the peer belongs to another mesh", Refused.MESH)
        same = fields.octets("digest", 32) == vector_digest(self._states.values())
        self.server_writes = read_writes(fields)
        if same:
            self._rows = {
                state.log: Row(state.log, state.pruned_to, state.head.seq, state.head.hash[:8])
                for state in self._states.values()
            }
        return not same

    def offered(self, data: bytes) -> None:
        """Take the server's VECTOR. Raises SyncError. `conflicts` then names logs with another entry at the same place."""
        _, fields = fields_of(data, Message.VECTOR)
        for row in map(_row, fields.array("rows", limits.SYNC_VECTOR_ROWS_MAX)):
            self._rows[row.log] = row
            if self._is_unwanted(row.log):
                continue
            state = self._states.get(row.log)
            first = max(state.head.seq + 1 if state else 0, row.pruned_to)
            if state and row.head_seq == state.head.seq and row.head_hash8 != state.head.hash[:8]:
                self.conflicts.append(row.log)
            if row.head_seq >= first:
                self._wants.append(Want(row.log, first, row.head_seq))
                if first > (state.head.seq + 1 if state else 0):
                    self._jumps[row.log] = _Jump()
        # What the server writes itself comes first, or a long history would make it look silent; what takes longest, last: so
        # of most members all is known soon.
        self._wants = deque(
            sorted(
                self._wants,
                key=lambda want: (want.log != self.server_writes, want.log in self._jumps, _length(want)),
            )
        )

    @property
    def held(self) -> Mapping[bytes, Row]:
        """What the server said it holds, by log."""
        return self._rows

    def fresh_seq(self, log: bytes) -> int:
        """The entry of a log that the server has only just written; -1 if it is not its own, or was written before it started."""
        return self._rows[log].head_seq if log == self.server_writes else -1

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
        # Beyond the bound only hellos are kept: the oldest entry of all says whose log it is.
        is_full = jump.size > limits.ADOPTION_BYTES_MAX
        jump.kept += [entry for entry in entries if entry.kind == Kind.HELLO or not is_full]
        if entries and asked.below:
            self._wants.appendleft(asked)
            return Answer()
        del self._jumps[asked.log]
        first = jump.entries[0]
        before, kept = Head(first.seq - 1, first.prev), tuple(reversed(jump.kept))
        return Answer(jump.entries, Adoption(asked.log, before, kept, tuple(jump.entries)))

    def skip(self, log: bytes) -> None:
        """Ask no further for a log whose page could not be taken."""
        self._wants = deque(want for want in self._wants if want.log != log)


def _length(want: Want | WantKept) -> int:
    return want.last - want.first if isinstance(want, Want) else 0


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
    _, fields = fields_of(data, Message.PAGE)
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
