"""Writes stores as demesh 0.1 did: schema version 1, with the tables' text of then."""

from collections.abc import Sequence
from pathlib import Path

import apsw

from demesh.log.entry import Entry
from tests.log.builders import MESH, START_WALL_MS, owners

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    no INTEGER PRIMARY KEY,              -- in order of first sight
    id BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    pruned_to INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE entry (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL,
    signature BLOB,                      -- NULL where a later signature in the log vouches for the entry
    received_ms INTEGER NOT NULL,        -- wall clock, for people
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE INDEX entry_of_kind ON entry (log, kind, seq) WHERE kind <> 3;
"""


def write_version_1(path: Path, own: Sequence[Entry], *others: Sequence[Entry]) -> None:
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    with db:
        db.execute(_SCHEMA)
        db.execute("INSERT INTO meta VALUES ('mesh_id', ?)", (MESH,))
        db.pragma("user_version", 1)
        for number, entries in enumerate((own, *others), start=1):
            log, head = entries[0].log, entries[-1]
            if entries is own:
                db.execute("INSERT INTO meta VALUES ('own_log', ?)", (log,))
            db.execute(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?, 0)", (number, log, owners(entries)[log], head.seq, head.hash)
            )
            db.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(number, e.seq, e.kind, e.hash, e.body, e.signature or None, START_WALL_MS) for e in entries],
            )
    db.close()
