"""The puller's side of sync (`demesh.mesh.sync`): what it asks for, and what it takes of the answers.

Guarantees: an answer that was not asked for, or is larger than could be passed on, ends the session; a log that can only be taken
from its middle is given out whole, as an `Adoption`. Not checked here: whether entries are what their author signed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.codec import Fields, Value, encode
from demesh.log.entry import Entry, Kind, entry_of
from demesh.log.evidence import Proof, read_proof
from demesh.log.head import Head
from demesh.log.state import LogState, vector_digest
from demesh.mesh.fork_search import ForkSearch
from demesh.mesh.preview import OwnerOf, Preview, PreviewSearch
from demesh.mesh.sync import (
    VERSION,
    Adoption,
    Message,
    Refused,
    Row,
    Want,
    WantKept,
    WantProof,
    fields_of,
    read_up_ms,
    read_writes,
)

Asked = Want | WantKept | WantProof


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sent that can be taken now: the adoption, if any, first."""

    entries: Sequence[Entry] = ()
    adoption: Adoption | None = None
    proof: Proof | None = None
    preview: Preview | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What a pull asks of its own node while it goes on. The defaults are those of one that takes anything."""

    state_of: Callable[[bytes], LogState | None] = lambda log: None
    """What is held of a log by now."""
    is_unwanted: Callable[[bytes], bool] = lambda log: False
    """Whether nothing of a log would be taken."""
    may_take: Callable[[bytes, bool], bool] = lambda log, at_once: True
    """(log, at once) -> whether no other pull takes it; at once: whether or not one does."""
    owner_of: OwnerOf | None = None
    """With this the end of a log of which much is lacked is asked for first, where it is well beyond `previewed_to`."""
    previewed_to: Callable[[bytes], int] = lambda log: -1


_ANYTHING = Here()


class Puller:
    """Gets from one server what `states` lack. The caller takes pages in in order, the first of a log before it asks further."""

    def __init__(
        self,
        mesh_id: bytes,
        states: Iterable[LogState],
        writes: bytes = b"",
        here: Here = _ANYTHING,
        chance: bytes = bytes(16),
    ) -> None:
        """`writes` is the log that this node is writing; `chance` decides in which logs with a conflict is searched, if there
        are many.
        """
        self.server_writes = b""
        """The log that the server is writing, once it has greeted."""
        self.ended: set[bytes] = set()
        """The logs of which the server did not give all that it said it holds, when it was asked for that."""
        self.refused: list[str] = []
        """Why previews were refused."""
        self._server_up_ms: int | None = None
        self._mesh_id = mesh_id
        self._writes = writes
        self._chance = chance
        self._states = {state.log: state for state in states}
        self._wants: deque[Asked] = deque()
        self._asked: Asked | None = None
        self._jumps: dict[bytes, _Jump] = {}
        self._rows: dict[bytes, Row] = {}
        self._conflicts: dict[bytes, int] = {}
        self._here = here
        self._searching: PreviewSearch | None = None
        self._to_preview: deque[bytes] = deque()

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
        self.server_writes, self._server_up_ms = read_writes(fields), read_up_ms(fields)
        if same:
            self._rows = {
                state.log: Row(state.log, state.pruned_to, state.head.seq, state.head.hash[:8])
                for state in self._states.values()
            }
        return not same

    def offered(self, data: bytes) -> None:
        """Take the server's VECTOR. Raises SyncError."""
        _, fields = fields_of(data, Message.VECTOR)
        for row in map(_row, fields.array("rows", limits.SYNC_VECTOR_ROWS_MAX)):
            self._rows[row.log] = row
            if self._here.is_unwanted(row.log):
                continue
            state = self._states.get(row.log)
            fork = state.fork if state else None
            first, last = lacked(state, row)
            if row.fork and (fork is None or row.fork < fork.rank):
                self._wants.append(WantProof(row.log))
            elif state and row.head_seq == state.head.seq and row.head_hash8 != state.head.hash[:8]:
                self.conflict(row.log, row.head_seq)
            if last >= first:
                self._wants.append(Want(row.log, first, last))
                if first > (state.head.seq + 1 if state else 0):
                    self._jumps[row.log] = _Jump()
        self._wants = deque(sorted(self._wants, key=self._turn))
        if self._here.owner_of is not None:
            self._to_preview.extend(want.log for want in self._wants if isinstance(want, Want) and self._is_long(want))

    def _is_long(self, want: Want) -> bool:
        row, state = self._rows[want.log], self._states.get(want.log)
        is_forked = row.fork is not None or (state is not None and state.fork is not None)
        is_much = want.last - want.first >= limits.PREVIEW_BEHIND_MIN
        return is_much and not is_forked

    def _turn(self, want: Asked) -> tuple[bool, bool, int]:
        """What the server writes itself comes first, or a long history would make it look silent; then proofs, which spare
        what they make void; what takes longest comes last, so that of most members all is known soon, and the proof against a
        log that is not known yet behind it.
        """
        length = want.last - want.first + 1 if isinstance(want, Want) else 0
        is_early = isinstance(want, WantProof) and want.log in self._states
        return want.log != self.server_writes, want.log in self._jumps, 0 if is_early else length or limits.SEQ_MAX

    def conflict(self, log: bytes, seq: int) -> None:
        """The server's entry `seq` of a log, or what its page names as that, is another one than ours."""
        self._conflicts.setdefault(log, seq)

    def searches(self) -> list[ForkSearch]:
        """Where it and we part, in the logs with a conflict: to be asked for one after the other, once all else was."""
        found: list[ForkSearch] = []
        # Not always the same ones: somebody might make up conflicts that lead to nothing.
        drawn = sorted(self._conflicts, key=self._drawn)[: limits.FORK_SEARCHES_MAX]
        for log in drawn:
            high = self._conflicts[log]
            state, row = self._states.get(log), self._rows[log]
            low = max(state.pruned_to if state else 0, row.pruned_to)
            found.append(ForkSearch(log, low, high, row.head_seq))
        return found

    def _drawn(self, log: bytes) -> bytes:
        return bytes(one ^ other for one, other in zip(log, self._chance, strict=True))

    @property
    def held(self) -> Mapping[bytes, Row]:
        """What the server said it holds, by log."""
        return self._rows

    def fresh_seq(self, log: bytes) -> int:
        """The entry of a log that the server has only just written; -1 if it is not its own, or was written before it started."""
        return self._rows[log].head_seq if log == self.server_writes else -1

    def age_ms(self, entry: Entry) -> int:
        """How old the server's fresh entry was when it greeted: 0 if it does not say, as earlier versions."""
        return 0 if self._server_up_ms is None else max(0, self._server_up_ms - entry.up_ms)

    def next_pull(self) -> bytes | None:
        """The next message to send; None when everything that was offered has been asked for, here or in another pull."""
        while self._searching is not None or self._to_preview:
            search = self._searching = self._searching or self._search(self._to_preview.popleft())
            if search is not None and search.want is not None:
                return self.ask(search.want)
            self._searching = None
        for want in list(self._wants):
            if not self._here.may_take(want.log, want.log == self.server_writes):
                continue
            self._wants.remove(want)
            if isinstance(want, WantKept) and want.log not in self._jumps:
                continue  # it came from elsewhere meanwhile
            if isinstance(want, WantProof) and self._here.state_of(want.log) is None:
                continue  # nobody can tell whose log it would be about
            left = self._left_of(want)
            if left is not None:
                return self.ask(left)
        return None

    def _left_of(self, want: Asked) -> Asked | None:
        """What of `want` has not come from elsewhere meanwhile; None if nothing is left."""
        state = self._here.state_of(want.log)
        if state is None or not isinstance(want, Want):
            return want
        first, last = lacked(state, self._rows[want.log])
        first, last = max(first, want.first), min(last, want.last)
        if first <= state.head.seq + 1:
            self._jumps.pop(want.log, None)
        return Want(want.log, first, last) if first <= last else None

    def _search(self, log: bytes) -> PreviewSearch | None:
        """The search for the preview of a log, unless it is shown already; what its author says itself is news all the same."""
        assert self._here.owner_of is not None
        row, state = self._rows[log], self._here.state_of(log) or self._states.get(log)
        held_seq = state.head.seq if state else -1
        is_shown = log != self.server_writes and self._here.previewed_to(log) + limits.LOGS_BEHIND_MAX >= row.head_seq
        if is_shown or row.head_seq - held_seq < limits.PREVIEW_BEHIND_MIN:  # it has come meanwhile
            return None
        return PreviewSearch(self._mesh_id, log, held_seq, row.pruned_to, row.head_seq, self._here.owner_of)

    def ask(self, want: Asked) -> bytes:
        self._asked = want
        match want:
            case WantProof():
                return encode([Message.EVIDENCE, want.log])
            case WantKept():
                return encode([Message.KEPT, want.log, want.below])
            case Want():
                return encode([Message.PULL, want.log, want.first, want.last])

    def answer(self, data: bytes) -> Answer:
        """What the server's PAGE or PROOF brings. Raises SyncError. An empty page ends the log: the peer has lost it."""
        asked = self._asked
        assert asked is not None
        if isinstance(asked, WantProof):
            return Answer(proof=_proof(data, asked.log))
        if isinstance(asked, WantKept):
            return self._kept(asked, _page(data, asked.log))
        entries = self.shown(data)
        if not entries and self._searching is None:
            self.ended.add(asked.log)
        if self._searching is not None:
            self._searching.answer(entries)
            if self._searching.refused:
                self.refused.append(self._searching.refused)
            return Answer(preview=self._searching.found)
        if entries and entries[-1].seq < asked.last:
            self._wants.appendleft(Want(asked.log, entries[-1].seq + 1, asked.last))
        jump = self._jumps.get(asked.log)
        if jump is None or not entries:
            return Answer(entries)
        jump.entries = entries
        self._wants.appendleft(WantKept(asked.log, asked.first))
        return Answer()

    def shown(self, data: bytes) -> list[Entry]:
        """The entries in the PAGE that answers a Want. Raises SyncError."""
        asked = self._asked
        assert isinstance(asked, Want)
        entries = _page(data, asked.log)
        for offset, entry in enumerate(entries):
            if entry.log != asked.log or entry.seq != asked.first + offset or entry.seq > asked.last:
                raise SyncError("the peer sent entries that were not asked for")
        return entries

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

    @property
    def left_over(self) -> set[bytes]:
        """The logs that another pull takes."""
        return {want.log for want in self._wants}

    def skip(self, log: bytes) -> None:
        """Ask no further for a log whose page could not be taken, or of which the caller knows that nothing would be."""
        self._wants = deque(want for want in self._wants if want.log != log or isinstance(want, WantProof))


def lacked(state: LogState | None, row: Row) -> tuple[int, int]:
    """The first and last place of a log that a peer holds by its `row` and a node in this `state` does not; none if reversed."""
    last = min(row.head_seq, state.fork.end - 1) if state and state.fork else row.head_seq
    return max(state.head.seq + 1 if state else 0, row.pruned_to), last


def _row(value: Value) -> Row:
    fields = Fields(value, "a row of the vector")
    row = Row(
        fields.octets("log id", 16),
        fields.uint("pruned to", limits.SEQ_MAX),
        fields.uint("head", limits.SEQ_MAX),
        fields.octets("hash", 8),
        (fields.uint("place of the fork", limits.SEQ_MAX), fields.octets("proof id", 8)) if fields.more else None,
    )
    return row


def _proof(data: bytes, log: bytes) -> Proof | None:
    """The proof in a PROOF about `log`; None if the server has lost it. Raises SyncError."""
    _, fields = fields_of(data, Message.PROOF)
    try:
        if fields.octets("log id", 16) != log:
            raise SyncError("the peer answered with another log than was asked for")
        value = fields.array("proof", 16)
        proof = read_proof(value) if value else None
    except EntryError as error:
        raise SyncError(f"the peer sent a bad proof: {error}") from None
    if proof is not None and proof.log != log:
        raise SyncError("the peer sent a proof about another log than was asked for")
    return proof


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
