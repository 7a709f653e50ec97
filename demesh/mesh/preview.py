"""Previews: the end of a long log, got before the log itself. How one is asked for, and what of the answers is believed. Pure.

    asked for, with PULL                                what must hold of it
    entry 0                                             a hello that names whose log it is, signed; its key is admitted
    the last STARTUP_TAIL_ENTRIES_MAX entries           each linked to the one before, vouched for as in a page of sync
    the plan that the newest results among them name    signed, each part for itself

What a log says now stands at its end, and the way there from entry 0 is long. So a puller that lacks much of a log asks for its
end first, and then for the whole log, as if it had not asked.

Guarantees: what a preview holds was signed for this mesh by the log's owner. Not guaranteed: that it goes together with what the
log holds before, which nobody can see yet. So it is shown, and never stored nor passed on.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError
from demesh.log.entry import Entry, Kind, verify
from demesh.log.head import Head
from demesh.log.plan import read_plan_part
from demesh.log.results import read_results
from demesh.log.taken import Taken
from demesh.log.vouching import linked_to, vouched_for
from demesh.mesh.sync import Want

OwnerOf = Callable[[bytes, Entry | None], bytes | None]
"""(log, its hello) -> its owner's key; None if it is not known without a hello. Raises EntryError if nothing of it is taken."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the end of a log builds on, as far as it was to be had, and that end; in order, with a gap between."""

    log: bytes
    public_key: bytes
    entries: tuple[Entry, ...]

    @property
    def newest(self) -> Entry:
        return self.entries[-1]


class PreviewSearch:
    """Asks for the preview of one log, of which we hold entries up to `held_seq` and the server `first_seq` to `head_seq`.

    Ask for `want` and give each answer to `answer`, until `want` is None; then `found` is the preview, if there is one. Why there
    is none is `refused`, empty if the server just could not give it.
    """

    def __init__(
        self, mesh_id: bytes, log: bytes, held_seq: int, first_seq: int, head_seq: int, owner_of: OwnerOf
    ) -> None:
        self.want: Want | None = None
        self.refused = ""
        self._mesh_id = mesh_id
        self._log = log
        self._held_seq = held_seq
        self._tail = Want(
            log, max(held_seq + 1, first_seq, 1, head_seq + 1 - limits.STARTUP_TAIL_ENTRIES_MAX), head_seq
        )
        self._owner_of = owner_of
        self._public_key: bytes | None = None
        self._hello: list[Entry] = []
        self._plan: list[Entry] = []
        self._plan_seq = self._plan_bytes = 0
        self._entries: list[Entry] = []
        self._next = self._take_hello
        try:
            self._public_key = owner_of(log, None)
        except EntryError as error:
            self.refused = error.reason
            return
        if self._public_key is None:
            self.want = Want(log, 0, 0)
        else:
            self.want, self._next = self._tail, self._take_tail

    @property
    def found(self) -> Preview | None:
        if self.want is not None or self._public_key is None or not self._entries:
            return None
        return Preview(self._log, self._public_key, (*self._hello, *self._plan, *self._entries))

    def answer(self, entries: Sequence[Entry]) -> None:
        """Take what came for `want`: entries of that log and range, in a row from its first on. Fewer, or none, are allowed."""
        self.want = None
        try:
            self._next(entries)
        except EntryError as error:
            self.want, self._entries, self.refused = None, [], error.reason

    def _take_hello(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        self._public_key = self._owner_of(self._log, entries[0])
        self._check_signed(entries)
        self._hello = list(entries)
        self.want, self._next = self._tail, self._take_tail

    def _take_tail(self, entries: Sequence[Entry]) -> None:
        assert self._public_key is not None
        taken = Taken()
        tail = linked_to(None, list(entries), taken)
        vouched = vouched_for(self._mesh_id, self._public_key, tail, taken)
        if taken.refusals:
            raise EntryError(taken.refusals[0].reason, "the end of a log that its owner did not sign so")
        self._entries = vouched
        named = _newest_plan(vouched)
        if named is not None and self._held_seq < named < self._tail.first:
            self._plan_seq = named
            self.want, self._next = Want(self._log, named, named), self._take_plan

    def _take_plan(self, entries: Sequence[Entry]) -> None:
        self._check_signed(entries)
        self._plan += entries
        self._plan_bytes += sum(entry.size for entry in entries)
        try:
            parts = read_plan_part(self._plan[0].payload).parts if self._plan else 0
        except EntryError:
            parts = 0  # kept by everybody, and of no meaning
        last, have = self._plan_seq + parts - 1, self._plan_seq + len(self._plan)
        if not entries or not parts or self._plan_bytes > limits.PREVIEW_PLAN_BYTES_MAX or last >= self._tail.first:
            self._plan = []  # what the results are about is not known then, but still who lives
        elif have <= last:
            self.want = Want(self._log, have, last)

    def _check_signed(self, entries: Sequence[Entry]) -> None:
        assert self._public_key is not None
        if not all(verify(self._public_key, self._mesh_id, entry) for entry in entries):
            raise EntryError("bad_signature", "an entry that the log's owner did not sign")


class Previews:
    """The previews that are shown now: by whom each came, and how far it reaches."""

    def __init__(self, mesh_id: bytes) -> None:
        self._mesh_id = mesh_id
        self._shown: dict[bytes, _Shown] = {}

    def __contains__(self, log: object) -> bool:
        return log in self._shown

    def head_seq(self, log: bytes) -> int:
        """How far the preview of a log reaches; -1 without one."""
        return self._shown[log].head.seq if log in self._shown else -1

    def take(self, preview: Preview, peer: bytes) -> bool:
        """Whether it is news, and there is room for it."""
        if self.head_seq(preview.log) >= preview.newest.seq:
            return False
        if preview.log not in self._shown and len(self._shown) >= limits.PREVIEWS_MAX:
            return False
        self._shown[preview.log] = _Shown(preview.public_key, preview.newest.head, peer)
        return True

    def follow(self, log: bytes, entries: Sequence[Entry]) -> tuple[bytes, list[Entry]]:
        """What of `entries`, of one log, goes on from its preview, with the key of its owner: news, though not the log itself."""
        shown = self._shown.get(log)
        if shown is None:
            return b"", []
        taken = Taken()
        linked = linked_to(shown.head, [entry for entry in entries if entry.seq > shown.head.seq], taken)
        followed = vouched_for(self._mesh_id, shown.public_key, linked, taken)
        if followed:
            shown.head = followed[-1].head
        return shown.public_key, followed

    def drop(self, log: bytes) -> bool:
        """Whether there was one."""
        return self._shown.pop(log, None) is not None

    def of(self, peer: bytes) -> list[bytes]:
        """The logs of which a peer gave what is shown."""
        return sorted(log for log, shown in self._shown.items() if shown.peer == peer)


@dataclass(slots=True)
class _Shown:
    public_key: bytes
    head: Head
    peer: bytes


def _newest_plan(entries: Sequence[Entry]) -> int | None:
    """The plan that the newest results name; None without results."""
    for entry in reversed(entries):
        with suppress(EntryError):  # such a payload means nothing
            if entry.kind == Kind.RESULTS:
                return read_results(entry.payload, entry.up_ms).plan_seq
    return None
