"""The store: every log this node holds, in one SQLite file, `log.db`.

Guarantees: when `commit(..., own=True)` returns, the entries survive a power cut (WAL, synchronous=FULL); peers'
entries are committed without that, as they can be fetched again. What `read` hands out hashes to what was stored (of which 8
bytes are kept); a row that does not is left out and named. From `pruned_to` to the head each entry is signed, or a later
signed one vouches for it. An I/O error is never retried: it is raised as StoreError and the process is expected
to end, since a page that failed to reach the disk may be forgotten by the kernel.

Not guaranteed: anything about payloads (entries are bytes here), or protection from a second writer. The data directory's
lock (`demesh.home`) sees to it that only one process writes; others open the store with `readonly=True`.

Reading is in `demesh.log.store_read`. One `Store` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

from demesh.log import store_lean, store_prune
from demesh.log.chain import LogState
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from demesh.log.store_read import StoredLogs
from demesh.log.store_rows import stored_body
from demesh.log.store_schema import HASH_BYTES_STORED, check_readable, damaged, prepare

_BUSY_TIMEOUT_MS = 5_000


class Store(StoredLogs):
    def __init__(self, path: Path, *, mesh_id: bytes = b"", readonly: bool = False) -> None:
        """Open `log.db` at `path`; unless `readonly`, make it if it is missing, for the mesh `mesh_id`.

        Raises StoreError if it cannot be opened, is damaged, of a later version, or of another mesh.
        """
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        super().__init__(path)
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

    def release(self, pages_max: int) -> int:
        """Give at most `pages_max` free pages back to the file system, at the next checkpoint; returns how many."""
        with self._writing(durable=False):
            return store_prune.release(self._db, pages_max)

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
