"""The tables of `view.db`, and whether a file has them.

Guarantees: what `open_tables` returns has the tables of this version, as they were made. There is no ladder from older versions:
what is in them is derived, so whoever finds another version makes the file anew.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from pathlib import Path
from typing import cast

import apsw

from demesh.errors import HistoryError

_VERSION = 5
_SCHEMA = """
CREATE TABLE subject (
    no INTEGER PRIMARY KEY,
    public_key BLOB NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (public_key, name)
);
CREATE TABLE source (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);  -- the logs that sums stand in
CREATE TABLE sums (
    subject INTEGER NOT NULL,
    source INTEGER NOT NULL,
    period_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    up_ms INTEGER NOT NULL,
    down_ms INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    columns BLOB NOT NULL,               -- all of them, as docs/protocol.md has a row without its name; sealed, as all blobs
    PRIMARY KEY (period_ms, start_ms, subject, source)
) WITHOUT ROWID;
CREATE TABLE log (id BLOB PRIMARY KEY, public_key BLOB NOT NULL, applied_seq INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE votes (log BLOB PRIMARY KEY, seq INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
"""
_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"


def open_tables(path: Path, readonly: bool) -> apsw.Connection:
    """The database at `path`; unless `readonly`, made if it is missing. Raises HistoryError if it is not one of this version."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        db = apsw.Connection(str(path), flags=flags)
        if not readonly:
            db.pragma("auto_vacuum", 2)  # INCREMENTAL; of effect in a new file only
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", 1)  # NORMAL: what is lost is folded again
        version = cast(int, db.pragma("user_version"))
        if version == 0 and not readonly:
            with db:
                db.execute(_SCHEMA)
                db.pragma("user_version", _VERSION)
    except apsw.Error as error:
        raise HistoryError(f"Cannot open {path}: {error}.") from error
    if version != _VERSION and (version or readonly):
        db.close()
        raise HistoryError(f"{path} has schema version {version}; this demesh reads version {_VERSION}.")
    if version and not _has_our_tables(db):
        db.close()
        raise HistoryError(f"{path} is damaged: its tables are not as they were made.")
    return db


def _has_our_tables(db: apsw.Connection) -> bool:
    """A flipped bit in what SQLite keeps of a table's columns would change what they mean."""
    made = apsw.Connection(":memory:")
    made.execute(_SCHEMA)
    wanted = list(made.execute(_TABLES))
    made.close()
    try:
        return list(db.execute(_TABLES)) == wanted
    except (apsw.Error, UnicodeDecodeError):
        return False
