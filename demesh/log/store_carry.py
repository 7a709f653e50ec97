"""Logs that go as a whole: those that a carry names (docs/protocol.md, kind 8), and those for which there is no room.

    carried     the ids that carries have named, with what they are made of, in the order in which they were named last
    going       numbers of logs that are no longer there, and whose rows have yet to be removed

Guarantees: a log goes at once, in the transaction that says so, and for good if it is carried; its rows follow in steps of
bounded size, and its number is not used again before they have. The own log stays, carried or not, until another is begun. Of
one key CARRIED_LOGS_MAX ids are remembered, the last named.

Each function works inside a transaction of its caller.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Iterable, Sequence
from typing import cast

import apsw

from demesh import limits
from demesh.errors import EntryError
from demesh.log.carry import Carry, CarryReader
from demesh.log.entry import Entry, log_id

SCHEMA = """
CREATE TABLE carried (
    no INTEGER PRIMARY KEY,              -- in the order in which they were last named
    id BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    nonce BLOB NOT NULL                  -- the epoch's: with the key it makes the id
);
CREATE TABLE going (no INTEGER PRIMARY KEY);  -- numbers of logs whose entries have yet to be removed
"""

NEXT_NUMBER = "(SELECT IFNULL(MAX(no), 0) + 1 FROM (SELECT no FROM log UNION ALL SELECT no FROM going))"
"""The number of a new log: never one whose rows are still there."""


def whole_carry(parts: Sequence[Entry]) -> Carry | None:
    """The carry that `parts`, entries in a row, end with; None if they are none."""
    reader = CarryReader()
    found: Carry | None = None
    for entry in parts:
        try:
            found = reader.add(entry.seq, entry.kind, entry.payload)
        except EntryError:
            found = None
    return found


def note(db: apsw.Connection, public_key: bytes, log: bytes, carry: Carry) -> list[bytes]:
    """Remember what a carry in `log` names; returns the ids."""
    for nonce in carry.nonces:
        named = log_id(public_key, nonce)
        if named != log:
            db.execute(
                "INSERT OR REPLACE INTO carried (no, id, public_key, nonce) "
                "VALUES ((SELECT IFNULL(MAX(no), 0) + 1 FROM carried), ?, ?, ?)",
                (named, public_key, nonce),
            )
    db.execute(
        "DELETE FROM carried WHERE public_key = ?1 AND no NOT IN "
        "(SELECT no FROM carried WHERE public_key = ?1 ORDER BY no DESC LIMIT ?2)",
        (public_key, limits.CARRIED_LOGS_MAX),
    )
    return carry.logs(public_key, log)


def end_carried(db: apsw.Connection) -> None:
    """Let every log go that is carried and not the own one."""
    others = "id IN (SELECT id FROM carried) AND id IS NOT (SELECT value FROM meta WHERE key = 'own_log')"
    db.execute(f"INSERT INTO going SELECT no FROM log WHERE {others}")
    db.execute(f"DELETE FROM log WHERE {others}")


def drop(db: apsw.Connection, logs: Iterable[bytes]) -> None:
    """Let `logs` go, which may come back."""
    for log in logs:
        db.execute("INSERT INTO going SELECT no FROM log WHERE id = ?", (log,))
        db.execute("DELETE FROM log WHERE id = ?", (log,))


def clear(db: apsw.Connection, rows_max: int) -> int:
    """Remove at most `rows_max` entries of logs that are going; returns how many. 0: there is none left."""
    while (number := db.execute("SELECT MIN(no) FROM going").get) is not None:
        db.execute(
            "DELETE FROM entry WHERE log = ?1 AND seq IN (SELECT seq FROM entry WHERE log = ?1 ORDER BY seq LIMIT ?2)",
            (cast(int, number), rows_max),
        )
        removed = db.changes()
        if removed < rows_max:
            db.execute("DELETE FROM going WHERE no = ?", (cast(int, number),))
        if removed:
            return removed
    return 0
