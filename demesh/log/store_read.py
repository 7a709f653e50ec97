"""What the store tells: the reading half of `demesh.log.store.Store`, which says what it promises.

Nothing here changes a store, so all of it works on one that was opened to be read only, of this version or an older one.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import apsw

from demesh import limits
from demesh.errors import StoreError
from demesh.log import store_fork
from demesh.log.entry import BadRow, Entry, Envelope, Kind, log_id
from demesh.log.evidence import Fork, Proof
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.store_copy import copy_store
from demesh.log.store_rows import ENTRY_COLUMNS, LOG_COLUMNS, SqlValue, entry_of_row, envelope_of_row, log_of_row
from demesh.log.store_schema import damaged, stored_mesh_id


class StoredLogs:
    """The logs in the database `_db`, which a subclass has opened."""

    _db: apsw.Connection

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers: dict[bytes, int] = {}
        self._forks: dict[bytes, Fork] | None = None  # as of the proofs in the store; None: they are to be read

    def file_identity(self) -> str:
        """Device and inode of the store's file: a copied or restored one differs."""
        status = self.path.stat()
        return f"{status.st_dev}:{status.st_ino}"

    def place(self, machine: str) -> str:
        """Where the store is: on the machine of this id, at that inode. Unlike devices, both outlive a reboot."""
        return f"{machine}:{self.path.stat().st_ino}"

    def settled_at(self) -> str | None:
        """The place where the own log was last begun or taken up; None if it never was, or was restored from a backup."""
        rows = self._query("SELECT CAST(value AS TEXT) FROM meta WHERE key = 'place'")
        return cast(str, rows[0][0]) if rows else None

    def note(self, name: str) -> bytes:
        """What this node noted for itself under `name`; empty if nothing."""
        rows = self._query("SELECT CAST(value AS BLOB) FROM meta WHERE key = ?", (f"note/{name}",))
        return cast(bytes, rows[0][0]) if rows else b""

    def mesh_id(self) -> bytes:
        return stored_mesh_id(self._db, self.path)

    def own_log(self, public_key: bytes | None = None) -> tuple[bytes, Head] | None:
        """The newest epoch that this node began itself, with its head, unless it was carried: then nobody takes it.

        With `public_key`: only if it is that key's.
        """
        log = self.own_log_id()
        own = next((state for state in self.logs() if state.log == log), None)
        if own is None or public_key not in (None, own.public_key) or log in self.carried().get(own.public_key, ()):
            return None
        return own.log, own.head

    def own_log_id(self) -> bytes | None:
        """The id of the log that this node began last, if it is there."""
        rows = self._query(
            "SELECT CAST(log.id AS BLOB) FROM log JOIN meta ON meta.key = 'own_log' AND log.id = meta.value"
        )
        return cast(bytes, rows[0][0]) if rows else None

    def carried(self) -> dict[bytes, list[bytes]]:
        """The ids of logs that were carried, by their owner's key, in the order in which they are forgotten again."""
        return {key: [log_id(key, nonce) for nonce in nonces] for key, nonces in self.carried_nonces().items()}

    def carried_nonces(self) -> dict[bytes, list[bytes]]:
        """The same, by the nonces of their epochs."""
        found: dict[bytes, list[bytes]] = {}
        if self._query("SELECT 1 FROM sqlite_schema WHERE name = 'carried'"):  # not in a store of an older version
            for log, key, nonce in self._query(
                "SELECT CAST(id AS BLOB), CAST(public_key AS BLOB), CAST(nonce AS BLOB) FROM carried ORDER BY no"
            ):
                if (
                    isinstance(key, bytes) and isinstance(nonce, bytes) and log == log_id(key, nonce)
                ):  # or it is damaged
                    found.setdefault(key, []).append(nonce)
        return found

    def logs(self) -> list[LogState]:
        """All logs, in the order in which this node first saw them."""
        states: list[LogState] = []
        if self._forks is None:
            self._forks = {log: proof.fork for log, proof in self._proofs().items()}
        for row in self._query(f"SELECT {LOG_COLUMNS} FROM log ORDER BY no"):
            found = log_of_row(row)
            if found is None:
                raise damaged(self.path, "what it says of a log cannot be")
            state, number = found
            self._numbers[state.log] = number  # of logs, too, that another process began
            states.append(replace(state, fork=self._forks.get(state.log)))
        return states

    def proof(self, log: bytes) -> Proof | None:
        """The proof that a log is forked, if there is one."""
        return self._proofs(log).get(log)

    def dates(self) -> dict[bytes, int]:
        """The wall clock of each log's head, where that is stored."""
        dated = {state.log: self.wall_ms_at(state.log, state.head.seq) for state in self.logs()}
        return {log: wall_ms for log, wall_ms in dated.items() if wall_ms is not None}

    def pruned_to(self, log: bytes) -> int:
        """The first sequence number from which on nothing of a log is missing."""
        rows = self._query("SELECT pruned_to FROM log WHERE id = ?", (log,))
        return cast(int, rows[0][0]) if rows else 0

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

    def read_envelopes(
        self, log: bytes, first: int, last: int, *, bytes_max: int
    ) -> tuple[list[Envelope], list[BadRow]]:
        """As `read`, with the bodies unread."""
        envelopes: list[Envelope] = []
        size = 0
        where = f"SELECT {ENTRY_COLUMNS} FROM entry WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        for row in self._rows(where, (self._numbers.get(log, -1), first, last)):
            if row[0] != first + len(envelopes):
                break
            envelope = envelope_of_row(log, row)
            if isinstance(envelope, BadRow):
                return envelopes, [envelope]
            size += envelope.size
            if envelopes and size > bytes_max:
                break
            envelopes.append(envelope)
        return envelopes, []

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]:
        """The entries from `first` on that there are, whatever is missing or bad between them, cut as `read` does."""
        return _cut(self._decoded(log, "seq >= ?", (first,)), bytes_max)

    def read_but_results(self, log: bytes, first: int, below: int, *, bytes_max: int) -> list[Entry]:
        """The entries from `first` to before `below` that are no results, cut as `read` does. Bad rows are left out."""
        return _cut(self._decoded(log, "kind <> 3 AND seq >= ? AND seq < ?", (first, below)), bytes_max)

    def results_back(self, log: bytes, below: int, first: int) -> Iterator[Entry]:
        """The results before `below`, the newest first, back to `first`. Bad rows are left out."""
        rows = self._decoded(log, "kind = 3 AND seq < ? AND seq >= ?", (below, first), backwards=True)
        return (row for row in rows if isinstance(row, Entry))

    def hash_at(self, log: bytes, seq: int) -> bytes | None:
        """The hash of an intact entry, 32 bytes; None if there is none there."""
        entries, _ = self.read(log, seq, seq)
        return entries[0].hash if entries else None

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

    def _proofs(self, of: bytes | None = None) -> dict[bytes, Proof]:
        try:
            return store_fork.proofs(self._db, of)
        except apsw.Error as error:
            raise self._failure(f"The store {self.path} could not be read", error) from error

    def _decoded(
        self, log: bytes, where: str, bindings: tuple[SqlValue, ...], *, backwards: bool = False
    ) -> Iterator[Entry | BadRow]:
        order = "DESC" if backwards else "ASC"
        rows = self._rows(
            f"SELECT {ENTRY_COLUMNS} FROM entry WHERE log = ? AND {where} ORDER BY seq {order}",
            (self._numbers.get(log, -1), *bindings),
        )
        return (entry_of_row(log, row) for row in rows)

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
