"""When a check runs next. Pure; times are monotonic milliseconds unless they are called wall.

Slots lie on a grid, so a slow run never shifts the ones after it. A slot that was missed is a gap, not made up for. While the
last results contradict the vote, one confirmation comes after the retry interval instead of a whole interval, for each result
that is needed to turn the vote; the slots stay where they are. So a target is asked at most once per slot, and once per
retry interval while a vote is turning.

Vantages of one check take turns. In the order of their keys, vantage `rank` of `count` has its slots at

    anchor(check) + rank × interval / count,    in Unix time, modulo the interval

so five vantages at 60 s ask every 12 s, and the checks of one node, whose anchors are hashes of their names, spread over the
interval. A slot that does not lie in its place is walked there: every slot comes late by up to an eighth of the interval
(WALK_PART) until it does. The wall clock is thus a hint and decides nothing: whatever it says, and however it jumps, two
slots are never closer than the interval nor further apart than 9/8 of it. The same walk takes a check from its first run,
soon after start, to its place, and from there to another when vantages come or go: it takes nine slots at most.

Not guaranteed: that vantages are apart when their wall clocks disagree by more than a part of interval / count, or while
they do not agree yet who the vantages are.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

WALK_PART = 8
_FIRST_RUNS_MS = 5_000


@dataclass(frozen=True, slots=True)
class Turn:
    """A vantage's place among the `count` of a check, by key: the first has rank 0."""

    rank: int
    count: int


ALONE = Turn(0, 1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The coming slot, or one just passed, from which the next is found. `settled`: it was in its place once, and is kept."""

    slot_ms: int
    interval_ms: int
    settled: bool = False


def turn_of(own: bytes, vantages: Iterable[bytes]) -> Turn:
    """The turn of the vantage with key `own`; it counts whether or not `vantages` names it."""
    others = [key for key in vantages if key != own]
    return Turn(sum(key < own for key in others), len(others) + 1)


def place_ms(check: str, turn: Turn, interval_ms: int) -> int:
    """Where in the interval, by wall clock, the slots of the check of this name belong: from 0 to less than `interval_ms`."""
    digest = hashlib.blake2b(check.encode(), digest_size=8, person=b"demesh/slot/1").digest()
    return (int.from_bytes(digest) + turn.rank * interval_ms // turn.count) % interval_ms


def next_slot(grid: Grid, now_ms: int, slot_wall_ms: int, place_ms: int, count: int) -> Grid:
    """The first slot after both `grid.slot_ms` and `now_ms`.

    `slot_wall_ms` is the wall clock's reading at `grid.slot_ms`, `place_ms` the place for it, and `count` that of the turn.
    A settled slot is left alone until it is off by more than a quarter of the distance between two vantages, so that two
    that drift towards each other still keep half of it.
    """
    interval_ms = grid.interval_ms
    early_ms = (place_ms - slot_wall_ms) % interval_ms
    off_ms = min(early_ms, interval_ms - early_ms)
    if grid.settled and off_ms <= interval_ms // (4 * count):
        shift_ms, settled = 0, True
    else:
        shift_ms = min(early_ms, interval_ms // WALK_PART)
        settled = shift_ms == early_ms
    slot_ms = grid.slot_ms + interval_ms + shift_ms
    missed = max(0, (now_ms - slot_ms) // interval_ms + 1)
    return Grid(slot_ms + missed * interval_ms, interval_ms, settled)


def next_run_ms(slot_ms: int, retry_interval_ms: int, ended_ms: int, *, turning: bool) -> int:
    """The time of the run after the one that ended at `ended_ms`: the coming slot, or a confirmation before it."""
    return min(slot_ms, ended_ms + retry_interval_ms) if turning else slot_ms


def first_run_ms(now_ms: int, index: int, count: int, interval_ms: int) -> int:
    """The first slot of check `index` of `count`: spread over half of the first five seconds, so that all answer soon."""
    spread_ms = min(_FIRST_RUNS_MS, interval_ms) // 2
    return now_ms + spread_ms * index // max(1, count)
