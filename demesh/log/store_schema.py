"""The store's tables, and the ladder by which an older store becomes one of this version.

Guarantees: `prepare` either leaves a store of this version or raises StoreError, and whatever moment it is interrupted at,
the next call picks up from there. Before the first change of an older store, a copy of it stands beside it
(`log.db.v1-backup`), whole and on the disk; it is never overwritten or removed. A store of a later version is not touched.
The file keeps its identity, so a migration alone begins no new epoch.

    version 1   tables meta, log, entry
    version 2   auto_vacuum=INCREMENTAL, so that pruning gives space back; `entry` has of each hash HASH_BYTES_STORED only, of
                new bodies not what the log tells (`demesh.log.store_rows`), and no received_ms
    version 3   tables carried, going (`demesh.log.store_carry`)
    version 4   table fork (`demesh.log.store_fork`)
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import apsw

from demesh import limits
from demesh.errors import StoreDamaged, StoreError
from demesh.log import store_carry, store_fork
from demesh.log.store_copy import copy_store

log = logging.getLogger(__name__)

SCHEMA_VERSION = 4
SCHEMA_VERSIONS_READ = (1, 2, 3, 4)
"""What a reader that changes nothing understands: it looks at no more of a hash than HASH_BYTES_STORED."""

HASH_BYTES_STORED = 8
"""Of an entry's hash, in its row: enough to notice bytes that went bad. The whole is computed from the body."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    no INTEGER PRIMARY KEY,              -- in order of first sight
    id BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    pruned_to INTEGER NOT NULL DEFAULT 0 -- from here to the head nothing is missing; below, some signed entries are kept
);
CREATE TABLE entry (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    hash BLOB NOT NULL,                  -- its first bytes
    body BLOB NOT NULL,                  -- without the front that all of a log have
    signature BLOB,                      -- NULL where a later signature in the log vouches for the entry
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE INDEX entry_of_kind ON entry (log, kind, seq) WHERE kind <> 3;
"""
_AUTO_VACUUM_INCREMENTAL = 2


def prepare(db: apsw.Connection, path: Path, mesh_id: bytes) -> None:
    """Make the store in `db`, whose file is at `path`, one of this version. Raises StoreError or apsw.Error."""
    version = _version(db)
    if version > SCHEMA_VERSION:
        raise _refusal(path, version)
    if version == 0:
        _use_incremental_vacuum(db)
    db.pragma("journal_mode", "wal")
    db.pragma("journal_size_limit", limits.STORE_WAL_BYTES_KEPT_MAX)
    if version == 0:
        with db:
            db.execute(_SCHEMA + store_carry.SCHEMA + store_fork.SCHEMA)
            db.execute("INSERT INTO meta VALUES ('mesh_id', ?)", (mesh_id,))
            db.pragma("user_version", SCHEMA_VERSION)
        return
    _check_mesh(db, path, mesh_id)
    if version < SCHEMA_VERSION:
        _keep_copy(db, path, version)
    while version < SCHEMA_VERSION:
        _STEPS[version](db)
        version = _version(db)
        log.warning("The store %s is now of schema version %d.", path, version)


def check_readable(db: apsw.Connection, path: Path, mesh_id: bytes) -> None:
    """Raises StoreError unless this version reads such tables, and they are of the mesh (of any if `mesh_id` is empty)."""
    version = _version(db)
    if version not in SCHEMA_VERSIONS_READ:
        raise _refusal(path, version)
    _check_mesh(db, path, mesh_id)


def stored_mesh_id(db: apsw.Connection, path: Path) -> bytes:
    """The mesh that the store in `db` is of. Raises StoreError or apsw.Error."""
    found = db.execute("SELECT CAST(value AS BLOB) FROM meta WHERE key = 'mesh_id'").get
    if not isinstance(found, bytes) or not found:
        raise damaged(path, "it does not say of which mesh it is")
    return found


def damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"The store {path} is damaged: {what}. Stop the node and run `demesh log repair`: it keeps what is intact, "
        "and peers send the rest again."
    )


def _check_mesh(db: apsw.Connection, path: Path, mesh_id: bytes) -> None:
    found = stored_mesh_id(db, path)
    if mesh_id and found != mesh_id:
        raise other_mesh(path, found, mesh_id)


def other_mesh(path: Path, found: bytes, mesh_id: bytes) -> StoreError:
    return StoreError(
        f"The store {path} belongs to mesh {found.hex()[:8]}, not to {mesh_id.hex()[:8]}. "
        "Use another --data-dir for another mesh."
    )


def _keep_copy(db: apsw.Connection, path: Path, version: int) -> None:
    copy = path.with_name(f"{path.name}.v{version}-backup")
    if copy.exists():
        return  # of an attempt that was interrupted: nobody wrote to the store since
    log.warning("The store %s is of schema version %d; %s is a copy of it as it was.", path, version, copy)
    copy_store(db, copy)


def _to_2(db: apsw.Connection) -> None:
    with db:
        if db.execute("SELECT 1 FROM pragma_table_info('entry') WHERE name = 'received_ms'").get:
            db.execute("ALTER TABLE entry DROP COLUMN received_ms")
            db.execute(f"UPDATE entry SET hash = substr(CAST(hash AS BLOB), 1, {HASH_BYTES_STORED})")
    db.pragma("wal_checkpoint", "truncate")  # or VACUUM's own WAL would come on top of this one
    _use_incremental_vacuum(db)
    db.pragma("user_version", 2)


def _to_3(db: apsw.Connection) -> None:
    with db:
        db.execute(store_carry.SCHEMA)
        db.pragma("user_version", 3)


def _to_4(db: apsw.Connection) -> None:
    with db:
        db.execute(store_fork.SCHEMA)
        db.pragma("user_version", 4)


_STEPS: dict[int, Callable[[apsw.Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""What leads from each version to the next. A step sets `user_version` last, and may find its own work half done."""


def _use_incremental_vacuum(db: apsw.Connection) -> None:
    """Only an empty database, or one that is written anew (VACUUM), can take this up."""
    if db.pragma("auto_vacuum") != _AUTO_VACUUM_INCREMENTAL:
        db.pragma("auto_vacuum", _AUTO_VACUUM_INCREMENTAL)
        db.execute("VACUUM")


def _version(db: apsw.Connection) -> int:
    return cast(int, db.pragma("user_version"))


def _refusal(path: Path, version: int) -> StoreError:
    return StoreError(
        f"The store {path} has schema version {version}; this demesh reads version {SCHEMA_VERSION}. "
        "Use the version of demesh that wrote it, or a later one."
    )
