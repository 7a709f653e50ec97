"""The store: every log this node holds, in one SQLite file, `log.db`.

Guarantees: when `commit(..., own=True)` returns, the entries survive a power cut (WAL, synchronous=FULL); peers'
entries are committed without that, as they can be fetched again. What `read` hands out hashes to what was stored (of which 8
bytes are kept); a row that does not is left out and named. From `pruned_to` to the head each entry is signed, or a later
signed one vouches for it. An I/O error is never retried: it is raised as StoreError and the process is expected
to end, since a page that failed to reach the disk may be forgotten by the kernel.

Not guaranteed: anything about payloads (entries are bytes here), or protection from a second writer. The data directory's
lock (`demesh.home`) sees to it that only one process writes; others open the store with `readonly=True`.

One `Store` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import apsw

from demesh import limits
from demesh.errors import StoreError
from demesh.log import store_lean, store_prune
from demesh.log.chain import LogState
from demesh.log.entry import BadRow, Entry, Kind
from demesh.log.head import Head
from demesh.log.store_copy import copy_store
from demesh.log.store_rows import ENTRY_COLUMNS, LOG_COLUMNS, SqlValue, entry_of_row, log_of_row, stored_body
from demesh.log.store_schema import HASH_BYTES_STORED, check_readable, damaged, prepare, stored_mesh_id

_BUSY_TIMEOUT_MS = 5_000


class Store:
    def __init__(self, path: Path, *, mesh_id: bytes = b"", readonly: bool = False) -> None:
        """Open `log.db` at `path`; unless `readonly`, make it if it is missing, for the mesh `mesh_id`.

        Raises StoreError if it cannot be opened, is damaged, of a later version, or of another mesh.
        """
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self.path = path
        self._numbers: dict[bytes, int] = {}
        try:
            self._db = apsw.Connection(str(path), flags=flags)
        except apsw.Error as error:
            raise self._failure(f"Cannot open the store {path}", error) from error
        try:
            self._open(mesh_id, readonly)
        except BaseException:
            self.close()
            raise

    def _open(self, mesh_id: bytes, readonly: bool) -> None:
        try:
            self._db.set_busy_timeout(_BUSY_TIMEOUT_MS)
            if readonly:
                self._db.pragma("query_only", True)
                check_readable(self._db, self.path, mesh_id)
            else:
                prepare(self._db, self.path, mesh_id)
        except apsw.Error as error:
            raise self._failure(f"Cannot open the store {self.path}", error) from error
        states = self.logs()
        if not readonly:
            self._check_heads(states)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with suppress(apsw.Error):  # what was committed stays, if not in the file then in its WAL
            self._db.close()

    def file_identity(self) -> str:
        """Device and inode of the store's file: a copied or restored one differs."""
        status = self.path.stat()
        return f"{status.st_dev}:{status.st_ino}"

    def mesh_id(self) -> bytes:
        return stored_mesh_id(self._db, self.path)

    def own_log(self, public_key: bytes | None = None) -> tuple[bytes, Head] | None:
        """The newest epoch that this node began itself, with its head. With `public_key`: only if it is that key's."""
        rows = self._query(
            "SELECT CAST(log.id AS BLOB) FROM log JOIN meta ON meta.key = 'own_log' AND log.id = meta.value"
        )
        own = next((state for state in self.logs() if rows and state.log == rows[0][0]), None)
        return (own.log, own.head) if own and public_key in (None, own.public_key) else None

    def logs(self) -> list[LogState]:
        """All logs, in the order in which this node first saw them."""
        states: list[LogState] = []
        for row in self._query(f"SELECT {LOG_COLUMNS} FROM log ORDER BY no"):
            found = log_of_row(row)
            if found is None:
                raise damaged(self.path, "what it says of a log cannot be")
            state, number = found
            self._numbers[state.log] = number  # of logs, too, that another process began
            states.append(state)
        return states

    def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> None:
        """Append `entries`, which the chain has accepted, in one transaction. `public_keys` names each log's owner.

        `own` entries are on the disk when this returns, and the log they begin becomes the own one. Results that later
        signatures vouch for lose their own on the way (`demesh.log.store_lean`).

        Raises StoreError; nothing of `entries` is stored then.
        """
        numbers = dict(self._numbers)
        with self._writing(durable=own):
            for entry in entries:
                if own and entry.seq == 0:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES ('own_log', ?)", (entry.log,))
                self._append(entry, numbers, public_keys)
        self._numbers = numbers

    def note(self, name: str) -> bytes:
        """What this node noted for itself under `name`; empty if nothing."""
        rows = self._query("SELECT CAST(value AS BLOB) FROM meta WHERE key = ?", (f"note/{name}",))
        return cast(bytes, rows[0][0]) if rows else b""

    def set_note(self, name: str, value: bytes) -> None:
        """Raises StoreError."""
        with self._writing(durable=False):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note/{name}", value))

    def make_durable(self) -> None:
        """Everything committed so far, peers' entries too, is on the disk when this returns. Raises StoreError."""
        with self._writing(durable=True):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('durable', randomblob(8))")

    def commit_kept(self, entries: Sequence[Entry], *, log: bytes, public_key: bytes, before: Head) -> None:
        """Store entries of a log whose holders have pruned all up to and with `before`: those they kept, signed.

        What they hold without a gap begins behind `before`. Unless this node has come that far already, the log goes on
        there: `before` is its head, `commit` appends behind it, and of what this node held itself only signed entries
        other than results stay. Entries that are there already are left as they are.

        Raises StoreError; nothing is stored then.
        """
        assert all(
            entry.log == log and entry.signature and entry.kind != Kind.RESULTS and entry.seq <= before.seq
            for entry in entries
        )
        with self._writing(durable=False):
            number = self._numbers.get(log)
            if number is None:
                number = self._insert_log(log, public_key, before, before.seq + 1)
            else:
                store_prune.skip_to(self._db, number, before)
            for entry in entries:
                self._insert_entry("INSERT OR IGNORE", number, entry)
        self._numbers[log] = number

    def prune(self, log: bytes, below: int, keep_kinds: Collection[int], *, rows_max: int) -> int:
        """Remove entries of a log below sequence number `below`, at most `rows_max`; returns how many. 0: none is left.

        Signed entries of `keep_kinds`, which cannot be results, stay. The head stays in any case. `pruned_to` moves with
        what is removed: from there to the head nothing is missing, whenever one looks. May be called again with fewer
        kinds to keep. Raises StoreError; nothing is removed then.
        """
        assert Kind.RESULTS not in keep_kinds
        with self._writing(durable=False):
            return store_prune.prune(self._db, self._numbers.get(log, -1), below, keep_kinds, rows_max)

    def pruned_to(self, log: bytes) -> int:
        """The first sequence number from which on nothing of a log is missing."""
        rows = self._query("SELECT pruned_to FROM log WHERE id = ?", (log,))
        return cast(int, rows[0][0]) if rows else 0

    def release(self, pages_max: int) -> int:
        """Give at most `pages_max` free pages back to the file system, at the next checkpoint; returns how many."""
        with self._writing(durable=False):
            return store_prune.release(self._db, pages_max)

    def used_bytes(self) -> int:
        """The bytes of the store's file that hold something: what pruning frees is not counted, and the WAL neither."""
        ((used,),) = self._query(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        return cast(int, used)

    def read(self, log: bytes, first: int, last: int, *, bytes_max: int = 2**62) -> tuple[list[Entry], list[BadRow]]:
        """Entries `first` to `last` of a log, cut before `bytes_max` is passed (one entry comes in any case).

        Stops in front of the first row that is missing or bad; the bad one is named.
        """
        entries: list[Entry] = []
        size = 0
        for row in self._decoded(log, "seq BETWEEN ? AND ?", (first, last)):
            if isinstance(row, BadRow):
                return entries, [row]
            size += row.size
            if row.seq != first + len(entries) or (entries and size > bytes_max):
                break
            entries.append(row)
        return entries, []

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]:
        """The entries from `first` on that there are, whatever is missing or bad between them, cut as `read` does."""
        return _cut(self._decoded(log, "seq >= ?", (first,)), bytes_max)

    def hash_at(self, log: bytes, seq: int) -> bytes | None:
        """The hash of an intact entry, 32 bytes; None if there is none there."""
        entries, _ = self.read(log, seq, seq)
        return entries[0].hash if entries else None

    def kept(self, log: bytes, from_seq: int, *, bytes_max: int) -> tuple[list[Entry], list[BadRow]]:
        """What is left of a log below `pruned_to`, from `from_seq` on, cut before `bytes_max` is passed (one in any case).

        Bad rows are left out and named.
        """
        entries: list[Entry] = []
        bad: list[BadRow] = []
        size = 0
        for row in self._decoded(log, "seq >= ? AND seq < (SELECT pruned_to FROM log WHERE id = ?)", (from_seq, log)):
            if isinstance(row, BadRow):
                bad.append(row)
                continue
            size += row.size
            if entries and size > bytes_max:
                break
            entries.append(row)
        return entries, bad

    def kept_before(self, log: bytes, below: int, *, bytes_max: int, count_max: int) -> list[Entry]:
        """What is left of a log below `pruned_to` and `below`, the newest first, cut like `read`. Bad rows are left out."""
        where = "seq < ? AND seq < (SELECT pruned_to FROM log WHERE id = ?)"
        return _cut(self._decoded(log, where, (below, log), backwards=True), bytes_max, count_max)

    def wall_ms_at(self, log: bytes, seq: int) -> int | None:
        """The wall clock of the first intact entry at or after `seq`; None if there is none."""
        rows = self._decoded(log, "seq >= ?", (seq,))
        return next((row.wall_ms for row in rows if isinstance(row, Entry)), None)

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

    def each(self, log: bytes, first: int = 0, last: int = limits.SEQ_MAX) -> Iterator[Entry | BadRow]:
        """Every row of a log in order, intact or not: what is kept below `pruned_to`, then what is whole."""
        return self._decoded(log, "seq BETWEEN ? AND ?", (first, last))

    def tail(self, log: bytes, count: int, kind: int | None = None) -> list[Entry | BadRow]:
        """The last `count` rows of a log, of one kind or of all, in order, intact or not."""
        # Only entries other than results are in an index by kind; of results there are always some near the end.
        of_kind = "" if kind is None else f"AND kind = {int(kind)}" + (" AND kind <> 3" if kind != Kind.RESULTS else "")
        number = self._numbers.get(log, -1)
        found = f"seq IN (SELECT seq FROM entry WHERE log = ? {of_kind} ORDER BY seq DESC LIMIT ?)"
        return list(self._decoded(log, found, (number, count)))

    def copy_to(self, path: Path) -> None:
        """Copy the store, as it is at this moment, to a new file. The node may go on writing. Raises StoreError."""
        copy_store(self._db, path)

    def file_faults(self) -> list[str]:
        """What SQLite finds wrong with the file itself, a line each; whole, it finds nothing. Reads all of it."""
        found = [str(line) for (line,) in self._query("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _decoded(
        self, log: bytes, where: str, bindings: tuple[SqlValue, ...], *, backwards: bool = False
    ) -> Iterator[Entry | BadRow]:
        order = "DESC" if backwards else "ASC"
        rows = self._rows(
            f"SELECT {ENTRY_COLUMNS} FROM entry WHERE log = ? AND {where} ORDER BY seq {order}",
            (self._numbers.get(log, -1), *bindings),
        )
        return (entry_of_row(log, row) for row in rows)

    def _append(self, entry: Entry, numbers: dict[bytes, int], public_keys: Mapping[bytes, bytes]) -> None:
        number = numbers.get(entry.log)
        if number is None:
            number = numbers[entry.log] = self._insert_log(entry.log, public_keys[entry.log], entry.head, 0)
        self._insert_entry("INSERT", number, entry)
        if entry.signature:
            store_lean.strip_behind(self._db, number, entry.seq)
        self._db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = ?", (entry.seq, entry.hash, number))

    def _insert_log(self, log: bytes, public_key: bytes, head: Head, pruned_to: int) -> int:
        self._db.execute(
            "INSERT INTO log (id, public_key, head_seq, head_hash, pruned_to) VALUES (?, ?, ?, ?, ?)",
            (log, public_key, head.seq, head.hash, pruned_to),
        )
        return self._db.last_insert_rowid()

    def _insert_entry(self, verb: str, number: int, entry: Entry) -> None:
        self._db.execute(
            f"{verb} INTO entry (log, seq, kind, hash, body, signature) VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                entry.seq,
                entry.kind,
                entry.hash[:HASH_BYTES_STORED],
                stored_body(entry),
                entry.signature or None,
            ),
        )

    def _check_heads(self, states: Sequence[LogState]) -> None:
        """What a log's next entry must link to has to be the entry that stands there, or a good log ends in nonsense."""
        for state in states:
            if state.head.seq >= state.pruned_to and self.hash_at(state.log, state.head.seq) != state.head.hash:
                what = f"log {state.log.hex()[:8]} does not end at its recorded head, entry {state.head.seq}"
                raise damaged(self.path, what)

    @contextmanager
    def _writing(self, *, durable: bool) -> Generator[None]:
        """One transaction; on the disk when it ends if `durable`. Raises StoreError; nothing has changed then."""
        try:
            self._db.pragma("synchronous", 2 if durable else 1)  # FULL, NORMAL
            with self._db:
                yield
        except apsw.Error as error:
            raise self._failure(f"The store {self.path} could not be written", error) from error

    def _query(self, sql: str, bindings: tuple[SqlValue, ...] = ()) -> list[tuple[SqlValue, ...]]:
        return list(self._rows(sql, bindings))

    def _rows(self, sql: str, bindings: tuple[SqlValue, ...]) -> Iterator[tuple[SqlValue, ...]]:
        try:
            yield from self._db.execute(sql, bindings)
        except apsw.Error as error:
            raise self._failure(f"The store {self.path} could not be read", error) from error

    def _failure(self, what: str, error: apsw.Error) -> StoreError:
        is_damage = isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.SQLError)  # the last: a lost table
        return damaged(self.path, str(error)) if is_damage else StoreError(f"{what}: {error}.")


def _cut(rows: Iterator[Entry | BadRow], bytes_max: int, count_max: int = limits.SEQ_MAX) -> list[Entry]:
    """The intact entries of `rows`, cut before a bound is passed (one entry comes in any case)."""
    entries: list[Entry] = []
    size = 0
    for row in rows:
        if isinstance(row, BadRow):
            continue
        size += row.size
        if entries and (size > bytes_max or len(entries) == count_max):
            break
        entries.append(row)
    return entries
