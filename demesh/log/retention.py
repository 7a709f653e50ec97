"""What of a log is forgotten, and what is kept for ever. Pure but for the store it is handed.

    results, byes, notices, others   until their time is over (`raw_before_ms`)
    rollups                          until theirs is (`hours_before_ms`)
    plans                            the two that results which are left may still name
    hellos                           the newest, and what is not forgotten yet
    checkpoints, carries, events     kept

Entries are dated by their author's wall clock, so all nodes forget about the same. A log whose dates go back and forth is cut
at one of the places that fit; nothing but its own past depends on it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from demesh import limits
from demesh.errors import EntryError
from demesh.log.entry import Entry, Kind
from demesh.log.plan import read_plan_part
from demesh.log.state import LogState

_KEPT = frozenset({Kind.HELLO, Kind.PLAN, Kind.ROLLUP, Kind.CHECKPOINT, Kind.CARRY, Kind.EVENT})


class Shortened(Protocol):
    """What is asked of the store; see `demesh.log.store.Store`."""

    def wall_ms_at(self, log: bytes, seq: int) -> int | None: ...

    def newest(self, log: bytes, kind: Kind, *, before: int, count: int = 1) -> list[Entry]: ...

    def prune(self, log: bytes, below: int, keep_kinds: Collection[int], *, rows_max: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """Until when entries of one log are forgotten, in Unix time."""

    raw_before_ms: int
    hours_before_ms: int


def shorten(store: Shortened, state: LogState, terms: Terms) -> int:
    """Forget at most RETENTION_ROWS_MAX entries of a log by `terms`; returns how many. 0: there is nothing left to forget."""
    cut = first_since(store, state, terms.raw_before_ms)
    hours_cut = min(cut, first_since(store, state, terms.hours_before_ms))
    for below, keep in (
        (cut, _KEPT),
        (hours_cut, _KEPT - {Kind.ROLLUP}),
        (_second_newest_plan(store, state.log, cut), _KEPT - {Kind.PLAN}),
        (_newest(store, state.log, Kind.HELLO, cut), _KEPT - {Kind.HELLO}),
    ):
        removed = store.prune(state.log, below, keep, rows_max=limits.RETENTION_ROWS_MAX)
        if removed:
            return removed
    return 0


def halve(store: Shortened, state: LogState) -> int:
    """Forget at most RETENTION_ROWS_MAX of the older half of what is whole of a log, whatever its dates say; returns how many."""
    below = state.pruned_to + (state.head.seq - state.pruned_to) // 2
    return store.prune(state.log, below, _KEPT, rows_max=limits.RETENTION_ROWS_MAX)


def first_since(store: Shortened, state: LogState, time_ms: int) -> int:
    """The sequence number of a log's first entry that is dated `time_ms` or later; the head's if there is none."""
    low, high = 0, state.head.seq
    while low < high:
        middle = (low + high) // 2
        dated_ms = store.wall_ms_at(state.log, middle)
        if dated_ms is not None and dated_ms < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def superseded(states: Iterable[tuple[LogState, int]]) -> set[bytes]:
    """Logs of which only the sums are kept: of each key, those older than its EPOCHS_WHOLE_MAX newest.

    `states` come with the wall clock of their heads.
    """
    by_key: dict[bytes, list[tuple[int, bytes]]] = {}
    for state, wall_ms in states:
        by_key.setdefault(state.public_key, []).append((wall_ms, state.log))
    return {log for logs in by_key.values() for _, log in sorted(logs)[: -limits.EPOCHS_WHOLE_MAX]}


def _newest(store: Shortened, log: bytes, kind: Kind, before: int) -> int:
    found = store.newest(log, kind, before=before)
    return found[0].seq if found else 0


def _second_newest_plan(store: Shortened, log: bytes, before: int) -> int:
    """Where the plan before the one that is current at `before` begins; 0 if there is none."""
    for _ in range(2):
        found = store.newest(log, Kind.PLAN, before=before)
        if not found:
            return 0
        try:
            before = found[0].seq - read_plan_part(found[0].payload).part
        except EntryError:
            before = found[0].seq
    return max(before, 0)
