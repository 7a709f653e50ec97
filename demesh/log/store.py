"""The store: every log this node holds, in one SQLite file, `log.db`.

Guarantees: when `commit(..., own=True)` returns, the entries survive a power cut (WAL, synchronous=FULL); peers'
entries are committed without that, as they can be fetched again. What `read` hands out hashes to what was stored (of which 8
bytes are kept); a row that does not is left out and named. From `pruned_to` to the head each entry is signed, or a later
signed one vouches for it, or the proof that the log is forked behind it. An I/O error is never retried: it is raised as
StoreError and the process is expected to end, since a page that failed to reach the disk may be forgotten by the kernel.

Not guaranteed: anything about payloads (entries are bytes here), or protection from a second writer. The data directory's
lock (`demesh.home`) sees to it that only one process writes; others open the store with `readonly=True`.

Reading is in `demesh.log.store_read`. One `Store` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import apsw

from demesh import limits
from demesh.errors import EntryError
from demesh.log import store_carry, store_fork, store_lean, store_prune
from demesh.log.carry import read_carry_part
from demesh.log.entry import Entry, Kind, by_log
from demesh.log.evidence import Proof
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.store_carry import whole_carry
from demesh.log.store_read import StoredLogs
from demesh.log.store_rows import stored_body
from demesh.log.store_schema import HASH_BYTES_STORED, check_readable, damaged, prepare

Carried = Mapping[bytes, Sequence[bytes]]
"""The ids of logs that are carried, by their owner's key, in the order in which they are forgotten again."""

_BUSY_TIMEOUT_MS = 5_000
_NUMBERS = "SELECT CAST(id AS BLOB), no FROM log"


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

    def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> Carried:
        """Append `entries`, which the chain has accepted, in one transaction. `public_keys` names each log's owner.

        Returns what carries that are whole now name: those logs are gone then, but for the own one.

        `own` entries are on the disk when this returns, and the log they begin becomes the own one. Results that later
        signatures vouch for lose their own on the way (`demesh.log.store_lean`).

        Raises StoreError; nothing of `entries` is stored then.
        """
        with self._writing(durable=own):
            for log, run in by_log(entries).items():
                if own and run[0].seq == 0:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES ('own_log', ?)", (log,))
                    self._end_carried()  # among them the own one until now, perhaps
                self._append(log, run, public_keys)
            return self._carry(entries)

    def settle(self, place: str) -> None:
        """Note `place`, durably. Raises StoreError."""
        with self._writing(durable=True):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('place', ?)", (place,))

    def set_note(self, name: str, value: bytes) -> None:
        """Raises StoreError."""
        with self._writing(durable=False):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note/{name}", value))

    def make_durable(self) -> None:
        """Everything committed so far, peers' entries too, is on the disk when this returns. Raises StoreError."""
        with self._writing(durable=True):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('durable', randomblob(8))")

    def commit_kept(self, entries: Sequence[Entry], *, log: bytes, public_key: bytes, before: Head) -> Carried:
        """Store entries of a log whose holders have pruned all up to and with `before`: those they kept, signed.

        What they hold without a gap begins behind `before`. Unless this node has come that far already, the log goes on
        there: `before` is its head, `commit` appends behind it, and of what this node held itself only signed entries
        other than results stay. Entries that are there already are left as they are. Returns what `commit` does.

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
            self._insert_entries("INSERT OR IGNORE", number, entries)
            return self._carry(entries)

    def prune(self, log: bytes, below: int, keep_kinds: Collection[int], *, rows_max: int) -> int:
        """Remove entries of a log below sequence number `below`, at most `rows_max`; returns how many. 0: none is left.

        Signed entries of `keep_kinds`, which cannot be results, stay. The head stays in any case. `pruned_to` moves with
        what is removed: from there to the head nothing is missing, whenever one looks. May be called again with fewer
        kinds to keep. Raises StoreError; nothing is removed then.
        """
        assert Kind.RESULTS not in keep_kinds
        with self._writing(durable=False):
            return store_prune.prune(self._db, self._numbers.get(log, -1), below, keep_kinds, rows_max)

    def drop(self, logs: Collection[bytes]) -> None:
        """Let `logs` go as a whole. They are gone when this returns; `clear` removes their entries."""
        assert self.own_log_id() not in logs
        with self._writing(durable=False):
            store_carry.drop(self._db, logs)
            store_fork.drop_without_log(self._db)
            self._forks = None
            for log in logs:
                self._numbers.pop(log, None)

    def end_at_fork(self, proof: Proof) -> LogState | None:
        """Keep `proof`, which counts, and let the log that it is about end in front of the fork.

        None if the log is not there, or leads up to that place by another history than the proof's: then nothing has changed.
        Raises StoreError.
        """
        state = next((state for state in self.logs() if state.log == proof.log), None)
        if state is None:
            return None
        before = self.hash_at(proof.log, proof.seq - 1) if state.pruned_to < proof.seq else None
        if before not in (None, proof.fork.prev):
            return None
        number = self._numbers[proof.log]
        with self._writing(durable=False):
            store_fork.keep(self._db, proof)
            if state.head.seq >= proof.seq:
                store_fork.cut(self._db, number, proof, is_whole=before is not None)
            if proof.seq == 0:
                self._insert_entries("INSERT OR REPLACE", number, proof.one[:1])
        self._forks = None
        return next(state for state in self.logs() if state.log == proof.log)

    def clear(self, rows_max: int) -> int:
        """Remove at most `rows_max` entries of logs that are gone; returns how many. 0: there is none left."""
        with self._writing(durable=False):
            return store_carry.clear(self._db, rows_max)

    def note_carries(self) -> None:
        """Take up anew what all carries in the store name."""
        for state in self.logs():
            with self._writing(durable=False):
                self._carry(self.newest(state.log, Kind.CARRY, count=limits.SEQ_MAX))

    def release(self, pages_max: int) -> int:
        """Give at most `pages_max` free pages back to the file system, at the next checkpoint; returns how many."""
        with self._writing(durable=False):
            return store_prune.release(self._db, pages_max)

    def _append(self, log: bytes, run: Sequence[Entry], public_keys: Mapping[bytes, bytes]) -> None:
        number, last = self._numbers.get(log), run[-1]
        if number is None:
            number = self._insert_log(log, public_keys[log], last.head, 0)
        self._insert_entries("INSERT", number, run)
        for entry in run:
            if entry.signature:
                store_lean.strip_behind(self._db, number, entry.seq)
        self._db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = ?", (last.seq, last.hash, number))

    def _insert_log(self, log: bytes, public_key: bytes, head: Head, pruned_to: int) -> int:
        self._db.execute(
            "INSERT INTO log (no, id, public_key, head_seq, head_hash, pruned_to) "
            f"VALUES ({store_carry.NEXT_NUMBER}, ?, ?, ?, ?, ?)",
            (log, public_key, head.seq, head.hash, pruned_to),
        )
        number = self._numbers[log] = self._db.last_insert_rowid()
        return number

    def _insert_entries(self, verb: str, number: int, entries: Iterable[Entry]) -> None:
        self._db.executemany(
            f"{verb} INTO entry (log, seq, kind, hash, body, signature) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    entry.seq,
                    entry.kind,
                    entry.hash[:HASH_BYTES_STORED],
                    stored_body(entry),
                    entry.signature or None,
                )
                for entry in entries
            ),
        )

    def _carry(self, entries: Sequence[Entry]) -> Carried:
        """Let go what carries name of which one of `entries`, just stored, is the last part; inside a transaction."""
        named: dict[bytes, list[bytes]] = {}
        for entry in entries:
            if entry.kind != Kind.CARRY:
                continue
            with suppress(EntryError):
                part = read_carry_part(entry.payload)
                if part.part + 1 < part.parts:
                    continue
                carry = whole_carry(self.read(entry.log, entry.seq - part.part, entry.seq)[0])
                if carry is not None:
                    owner = self._owner(entry.log)
                    named.setdefault(owner, []).extend(store_carry.note(self._db, owner, entry.log, carry))
        if named:
            self._end_carried()
        return named

    def _end_carried(self) -> None:
        store_carry.end_carried(self._db)
        store_fork.drop_without_log(self._db)
        self._forks = None
        self._numbers = {cast(bytes, log): cast(int, number) for log, number in self._query(_NUMBERS)}

    def _owner(self, log: bytes) -> bytes:
        ((owner,),) = self._query("SELECT CAST(public_key AS BLOB) FROM log WHERE id = ?", (log,))
        return cast(bytes, owner)

    def _check_heads(self, states: Sequence[LogState]) -> None:
        """What a log's next entry must link to has to be the entry that stands there, or a good log ends in nonsense."""
        for state in states:
            if state.head.seq >= state.pruned_to and self.hash_at(state.log, state.head.seq) != state.head.hash:
                what = f"log {state.log.hex()[:8]} does not end at its recorded head, entry {state.head.seq}"
                raise damaged(self.path, what)

    @contextmanager
    def _writing(self, *, durable: bool) -> Generator[None]:
        """One transaction; on the disk when it ends if `durable`. Raises StoreError; nothing has changed then."""
        numbers = dict(self._numbers)
        try:
            self._db.pragma("synchronous", 2 if durable else 1)  # FULL, NORMAL
            with self._db:
                yield
        except apsw.Error as error:
            self._numbers = numbers
            raise self._failure(f"The store {self.path} could not be written", error) from error
        except BaseException:
            self._numbers = numbers
            raise
