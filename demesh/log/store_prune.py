"""How a log in the store is shortened from its beginning (docs/store.md), and how the space is given back.

    seq      0    1   …   40   …   81  82  │  83  84  85  …  head
             hello        plan     checkpoint  nothing is missing from `pruned_to` = 83 on
             └── signed, no results ──────┘│

Guarantees at every commit: from `pruned_to` to the head nothing is missing; below it there are only signed entries, none of
them results, as nothing else there is vouched for. A log of which nothing is whole yet has its head at `pruned_to` − 1.

Each function works inside a transaction of its caller.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import json
from collections.abc import Collection
from typing import cast

import apsw

from demesh.log.head import Head

_GOES = "(signature IS NULL OR kind NOT IN (SELECT value FROM json_each(?)))"


def prune(db: apsw.Connection, number: int, below: int, keep_kinds: Collection[int], rows_max: int) -> int:
    """See `Store.prune`. `number` is the log's."""
    found = db.execute("SELECT pruned_to, head_seq FROM log WHERE no = ?", (number,)).get
    if found is None:
        return 0
    pruned_to, head_seq = cast(tuple[int, int], found)
    kept = json.dumps(sorted(map(int, keep_kinds)))
    removed = _forget_kept(db, number, min(below, pruned_to), kept, rows_max)
    # In front of a fork the last entries may be unsigned: newcomers begin at one that is signed.
    signed = db.execute("SELECT MAX(seq) FROM entry WHERE log = ? AND signature IS NOT NULL", (number,)).get
    goal = min(below, head_seq, cast(int, signed or 0))
    if goal <= pruned_to or removed >= rows_max:
        return removed
    last = db.execute(
        f"SELECT seq FROM entry WHERE log = ? AND seq >= ? AND seq < ? AND {_GOES} ORDER BY seq LIMIT 1 OFFSET ?",
        (number, pruned_to, goal, kept, rows_max - removed - 1),
    ).get
    reached = goal if last is None else cast(int, last) + 1
    db.execute(
        f"DELETE FROM entry WHERE log = ? AND seq >= ? AND seq < ? AND {_GOES}", (number, pruned_to, reached, kept)
    )
    removed += db.changes()
    db.execute("UPDATE log SET pruned_to = ? WHERE no = ?", (reached, number))
    return removed


def skip_to(db: apsw.Connection, number: int, before: Head) -> None:
    """Make `before` the head, with nothing whole behind it yet, unless the log has come that far already."""
    head_seq = db.execute("SELECT head_seq FROM log WHERE no = ?", (number,)).get
    if cast(int, head_seq) < before.seq:
        restart_at(db, number, before)


def restart_at(db: apsw.Connection, number: int, before: Head) -> None:
    """Make `before` the head, with nothing whole behind it yet; of what is there only what is provable by itself stays."""
    db.execute(
        "UPDATE log SET head_seq = ?, head_hash = ?, pruned_to = ? WHERE no = ?",
        (before.seq, before.hash, before.seq + 1, number),
    )
    db.execute("DELETE FROM entry WHERE log = ? AND (signature IS NULL OR kind = 3)", (number,))


def release(db: apsw.Connection, pages_max: int) -> int:
    """See `Store.release`."""
    before = cast(int, db.pragma("freelist_count"))
    for _ in db.execute(f"PRAGMA incremental_vacuum({int(pages_max)})"):
        pass  # each step gives one page back
    return before - cast(int, db.pragma("freelist_count"))


def _forget_kept(db: apsw.Connection, number: int, below: int, kept: str, rows_max: int) -> int:
    """Remove entries of kinds that were kept once and are no longer."""
    db.execute(
        "DELETE FROM entry WHERE log = ? AND seq IN (SELECT seq FROM entry INDEXED BY entry_of_kind WHERE log = ? AND kind <> 3 "
        "AND seq < ? AND kind NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?)",
        (number, number, below, kept, rows_max),
    )
    return db.changes()
