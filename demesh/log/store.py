"""The store: every log this node holds, in one SQLite file, `log.db`.

Guarantees: when `commit(..., own=True)` returns, the entries survive a power cut (WAL, synchronous=FULL); peers'
entries are committed without that, as they can be fetched again. What `read` hands out hashes to what was stored; a row
that does not is left out and named. An I/O error is never retried: it is raised as StoreError and the process is expected
to end, since a page that failed to reach the disk may be forgotten by the kernel.

Not guaranteed: anything about payloads (entries are bytes here), or protection from a second writer. The data directory's
lock (`demesh.home`) sees to it that only one process writes; others open the store with `readonly=True`.

One `Store` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import apsw

from demesh import limits
from demesh.errors import EntryError, StoreError
from demesh.log.chain import LogState
from demesh.log.entry import BadRow, Entry, Kind, decode_body
from demesh.log.head import Head

SCHEMA_VERSION = 1

_SqlValue = None | int | float | bytes | str

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
_BUSY_TIMEOUT_MS = 5_000
# A damaged row may have lost its type, and text that is none could not even be read.
_ROW = "seq, CAST(hash AS BLOB), CAST(body AS BLOB), CAST(signature AS BLOB)"


class Store:
    def __init__(self, path: Path, *, mesh_id: bytes = b"", readonly: bool = False) -> None:
        """Open `log.db` at `path`; unless `readonly`, make it if it is missing, for the mesh `mesh_id`.

        Raises StoreError if it cannot be opened, is damaged, of a later version, or of another mesh.
        """
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self.path = path
        try:
            self._db = apsw.Connection(str(path), flags=flags)
            self._db.set_busy_timeout(_BUSY_TIMEOUT_MS)
            if readonly:
                self._db.pragma("query_only", True)
            else:
                self._db.pragma("journal_mode", "wal")
            self._check_version(mesh_id, readonly)
        except apsw.Error as error:
            raise StoreError(f"Cannot open the store {path}: {error}.") from error
        self._numbers = {cast(bytes, row[1]): cast(int, row[0]) for row in self._query("SELECT no, id FROM log")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def file_identity(self) -> str:
        """Device and inode of the store's file: a copied or restored one differs."""
        status = self.path.stat()
        return f"{status.st_dev}:{status.st_ino}"

    def mesh_id(self) -> bytes:
        return cast(bytes, self._query("SELECT value FROM meta WHERE key = 'mesh_id'")[0][0])

    def own_log(self) -> tuple[bytes, Head] | None:
        """The newest epoch that this node began itself, with its head."""
        rows = self._query(
            "SELECT id, head_seq, head_hash FROM log JOIN meta ON meta.key = 'own_log' AND log.id = meta.value"
        )
        return (cast(bytes, rows[0][0]), Head(cast(int, rows[0][1]), cast(bytes, rows[0][2]))) if rows else None

    def logs(self) -> list[LogState]:
        """All logs, in the order in which this node first saw them."""
        rows = self._query("SELECT id, public_key, head_seq, head_hash, pruned_to FROM log ORDER BY no")
        return [
            LogState(cast(bytes, r[0]), cast(bytes, r[1]), Head(cast(int, r[2]), cast(bytes, r[3])), cast(int, r[4]))
            for r in rows
        ]

    def commit(
        self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], received_ms: int, own: bool
    ) -> None:
        """Append `entries`, which the chain has accepted, in one transaction. `public_keys` names each log's owner.

        `own` entries are on the disk when this returns, and the log they begin becomes the own one.

        Raises StoreError; nothing of `entries` is stored then.
        """
        numbers = dict(self._numbers)
        try:
            self._db.pragma("synchronous", 2 if own else 1)  # FULL, NORMAL
            with self._db:
                for entry in entries:
                    if own and entry.seq == 0:
                        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('own_log', ?)", (entry.log,))
                    self._append(entry, numbers, public_keys, received_ms)
        except apsw.Error as error:
            raise StoreError(f"The store {self.path} could not be written: {error}.") from error
        self._numbers = numbers

    def read(self, log: bytes, first: int, last: int, *, bytes_max: int = 2**62) -> tuple[list[Entry], list[BadRow]]:
        """Entries `first` to `last` of a log, cut before `bytes_max` is passed (one entry comes in any case).

        Stops in front of the first row that is missing or bad; the bad one is named.
        """
        entries: list[Entry] = []
        size = 0
        rows = self._rows(
            f"SELECT {_ROW} FROM entry WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq",
            (self._numbers.get(log, -1), first, last),
        )
        for seq, stored_hash, body, signature in rows:
            entry = _intact(cast(bytes, body), cast(bytes | None, signature), cast(bytes, stored_hash))
            if entry is None or entry.log != log or entry.seq != seq:
                return entries, [BadRow(log, cast(int, seq))]
            size += entry.size
            if seq != first + len(entries) or (entries and size > bytes_max):
                break
            entries.append(entry)
        return entries, []

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]:
        """The entries from `first` on that there are, whatever is missing or bad between them, cut as `read` does."""
        entries: list[Entry] = []
        size = 0
        rows = self._rows(
            f"SELECT {_ROW} FROM entry WHERE log = ? AND seq >= ? ORDER BY seq", (self._numbers.get(log, -1), first)
        )
        for seq, stored_hash, body, signature in rows:
            entry = _intact(cast(bytes, body), cast(bytes | None, signature), cast(bytes, stored_hash))
            if entry is None or entry.log != log or entry.seq != seq:
                continue
            size += entry.size
            if entries and size > bytes_max:
                break
            entries.append(entry)
        return entries

    def hash_at(self, log: bytes, seq: int) -> bytes | None:
        rows = self._query("SELECT hash FROM entry WHERE log = ? AND seq = ?", (self._numbers.get(log, -1), seq))
        return cast(bytes, rows[0][0]) if rows else None

    def newest(self, log: bytes, kind: Kind, *, before: int = limits.SEQ_MAX + 1, count: int = 1) -> list[Entry]:
        """The newest `count` entries of a kind other than results below sequence number `before`, oldest first."""
        rows = self._query(
            "SELECT seq FROM entry WHERE log = ? AND kind = ? AND kind <> 3 AND seq < ? ORDER BY seq DESC LIMIT ?",
            (self._numbers.get(log, -1), int(kind), before, count),
        )
        return [entry for (seq,) in reversed(rows) for entry in self.read(log, cast(int, seq), cast(int, seq))[0]]

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Reads inside see one state of the store, whatever is written meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def each(self, log: bytes) -> Iterator[Entry | BadRow]:
        """Every row of a log in order, intact or not."""
        rows = self._rows(f"SELECT {_ROW} FROM entry WHERE log = ? ORDER BY seq", (self._numbers.get(log, -1),))
        for seq, stored_hash, body, signature in rows:
            entry = _intact(cast(bytes, body), cast(bytes | None, signature), cast(bytes, stored_hash))
            yield entry if entry and entry.log == log and entry.seq == seq else BadRow(log, cast(int, seq))

    def _append(
        self, entry: Entry, numbers: dict[bytes, int], public_keys: Mapping[bytes, bytes], received_ms: int
    ) -> None:
        number = numbers.get(entry.log)
        if number is None:
            self._db.execute(
                "INSERT INTO log (id, public_key, head_seq, head_hash) VALUES (?, ?, ?, ?)",
                (entry.log, public_keys[entry.log], entry.seq, entry.hash),
            )
            number = numbers[entry.log] = self._db.last_insert_rowid()
        self._db.execute(
            "INSERT INTO entry (log, seq, kind, hash, body, signature, received_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, entry.seq, entry.kind, entry.hash, entry.body, entry.signature or None, received_ms),
        )
        self._db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = ?", (entry.seq, entry.hash, number))

    def _check_version(self, mesh_id: bytes, readonly: bool) -> None:
        version = cast(int, self._db.pragma("user_version"))
        if version == 0 and not readonly:
            with self._db:
                self._db.execute(_SCHEMA)
                self._db.execute("INSERT INTO meta VALUES ('mesh_id', ?)", (mesh_id,))
                self._db.pragma("user_version", SCHEMA_VERSION)
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"The store {self.path} has schema version {version}; this demesh reads version {SCHEMA_VERSION}. "
                "Use the version of demesh that wrote it, or a later one."
            )
        if mesh_id and self.mesh_id() != mesh_id:
            raise StoreError(
                f"The store {self.path} belongs to mesh {self.mesh_id().hex()[:8]}, not to {mesh_id.hex()[:8]}. "
                "Use another --data-dir for another mesh."
            )

    def _query(self, sql: str, bindings: tuple[_SqlValue, ...] = ()) -> list[tuple[_SqlValue, ...]]:
        return list(self._rows(sql, bindings))

    def _rows(self, sql: str, bindings: tuple[_SqlValue, ...]) -> Iterator[tuple[_SqlValue, ...]]:
        try:
            yield from self._db.execute(sql, bindings)
        except apsw.Error as error:
            raise StoreError(f"The store {self.path} could not be read: {error}.") from error


def _intact(body: bytes, signature: bytes | None, stored_hash: bytes) -> Entry | None:
    try:
        entry = decode_body(body, signature or b"")
    except EntryError:
        return None
    return entry if entry.hash == stored_hash else None
