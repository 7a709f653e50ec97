"""What can be saved of a damaged store.

The damaged file is never changed. What verifies in it goes into a new store, which then takes its place; the old one stays
beside it as `log.db.damaged-1`. Nothing is made up and nothing signed again:

- of the part of a log that must be whole, the entries in front of the first fault are kept, as far as a signature vouches
  for them. The log ends earlier then, and peers send the rest again;
- where nothing is left in front of a fault (the hello of a log is damaged), the entries behind it are kept in the same way,
  as a shortened log. Where no hello is left in it, only peers that know the log already can take more of it from here;
- of what is kept below `pruned_to`, each entry stands for itself: only faulty ones go;
- a log of which nothing whole is left is forgotten, and comes anew from peers;
- which logs were carried stays known, from the list of them as far as it can be read, and from the carries that are left;
- proofs of forks that are intact stay with their logs.

The node's own log is treated alike. As the new store is another file, the next start begins a new epoch: no place in the
old one is ever signed for twice (see `demesh.log.epoch`).

Guarantees: `survey` changes nothing; `rebuild` leaves the old store in its place, or the new one there and the old one
beside it. The caller holds the data directory's lock.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import apsw

from demesh import limits
from demesh.disk import sync_directory, sync_file
from demesh.errors import StoreDamaged, StoreError
from demesh.log import store_fork
from demesh.log.audit import Fault, audit
from demesh.log.entry import BadRow, Entry, log_id
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.store_schema import HASH_BYTES_STORED, other_mesh

_COPIED = (
    f"SELECT seq, kind, substr(CAST(hash AS BLOB), 1, {HASH_BYTES_STORED}), CAST(body AS BLOB), CAST(signature AS BLOB) "
    "FROM entry WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq"
)


@dataclass(frozen=True, slots=True)
class LogFinding:
    """What is wrong with one log, and what of it can stay: the entries `kept`, and all from `first` to `head`."""

    state: LogState
    is_own: bool
    faults: tuple[Fault, ...]
    first: int
    """`pruned_to`, unless what stood there is not whole."""
    head: Head | None
    """None if nothing whole is left."""
    kept: tuple[int, ...]

    @property
    def removed(self) -> tuple[int, int] | None:
        """The first and the last place that the log gives up at its end."""
        first = self.state.pruned_to if self.head is None else self.head.seq + 1
        return (first, self.state.head.seq) if first <= self.state.head.seq else None


@dataclass(frozen=True, slots=True)
class _Signed:
    """An entry that is signed, or that the proof of a fork vouches for, and where what leads up to it without a gap begins."""

    stretch: int
    head: Head


@dataclass(frozen=True, slots=True)
class Survey:
    """What is wrong with a store. `file_faults` are SQLite's words; `logs` is None if not even those can be told."""

    file_faults: tuple[str, ...]
    logs: tuple[LogFinding, ...] | None

    @property
    def is_intact(self) -> bool:
        return not self.file_faults and self.logs is not None and not any(each.faults for each in self.logs)


def survey(path: Path, mesh_id: bytes) -> Survey:
    """Read everything in the store at `path`, which should be one of the mesh `mesh_id`.

    Raises StoreError if it is of another mesh, or of a version that this demesh does not read.
    """
    try:
        store = Store(path, readonly=True)
    except StoreDamaged as error:
        return Survey((str(error),), None)
    with store:
        file_faults: list[str] = []
        try:
            file_faults.extend(store.file_faults())
        except StoreDamaged as error:
            file_faults.append(str(error))
        try:
            said, own = store.mesh_id(), store.own_log()
            own_log = own[0] if own else None
            logs = tuple(_look(store, mesh_id, own_log, state) for state in store.logs())
        except StoreDamaged as error:
            return Survey((*file_faults, str(error)), None)
    if said != mesh_id and not any(log.head for log in logs):
        raise other_mesh(path, said, mesh_id)
    if said != mesh_id:
        file_faults.append(f"it says that it is of mesh {said.hex()[:8]}, and holds entries of {mesh_id.hex()[:8]}")
    return Survey(tuple(file_faults), logs)


def rebuild(path: Path, mesh_id: bytes, found: Survey) -> Path:
    """Put a new store with what `found` lets stay in the place of the one at `path`; returns where that one is now.

    Raises StoreError; then the old store is in its place.
    """
    new = path.with_name(path.name + ".repaired")
    try:
        for left in (new, *_companions(new)):
            left.unlink(missing_ok=True)
        Store(new, mesh_id=mesh_id).close()
        new.chmod(0o600)
        if found.logs:
            _fill(new, path, found.logs)
            with Store(new, mesh_id=mesh_id) as store:  # which looks whether each log ends where it should
                store.note_carries()
        sync_file(new)
        aside = next(name for name in map(path.with_name, _names(path.name)) if not name.exists())
        aside.hardlink_to(path)
        # A WAL belongs to its database alone: beside another it would be read as that one's.
        for companion, to in zip(_companions(path), _companions(aside), strict=True):
            with suppress(FileNotFoundError):
                companion.rename(to)
        new.replace(path)
        sync_directory(path.parent)
    except (apsw.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"The store {path} could not be repaired: {reason}.") from error
    return aside


def _look(store: Store, mesh_id: bytes, own_log: bytes | None, state: LogState) -> LogFinding:
    kept: list[int] = []
    signed: list[_Signed] = []
    last: list[Head] = []
    stretch = state.pruned_to

    def noted() -> Iterator[Entry | BadRow]:
        nonlocal stretch
        for row in _readable(store, state):
            if isinstance(row, Entry) and row.seq < state.pruned_to:
                kept.append(row.seq)
            elif isinstance(row, Entry):
                if not last or row.seq != last[0].seq + 1:
                    stretch = row.seq
                last[:] = [row.head]
                if row.signature or (state.fork and row.hash == state.fork.prev):
                    signed.append(_Signed(stretch, row.head))
            yield row

    recorded = Fault(state.log, state.head.seq, "the log does not end at its recorded head")
    faults = [each for each in audit(mesh_id, state, noted()) if each != recorded]
    at = sorted({each.seq for each in faults if each.seq >= state.pruned_to})
    first, head = _first_whole(signed, at) or (state.pruned_to, None)
    if not faults and not last and state.head.seq == state.pruned_to - 1:
        head = state.head  # nothing whole is there yet, and nothing should be
    elif not at and last != [state.head]:
        faults.append(recorded)
    faulty = {each.seq for each in faults}
    return LogFinding(
        state=state,
        is_own=state.log == own_log,
        faults=tuple(faults),
        first=first,
        head=head,
        kept=tuple(seq for seq in kept if seq not in faulty),
    )


def _first_whole(signed: Sequence[_Signed], faulty: Sequence[int]) -> tuple[int, Head] | None:
    """The first stretch without a fault or a gap: where it begins, and the last entry in it that is signed.

    None if there is none with a signature in it. `faulty` is in order.
    """
    found: tuple[int, Head] | None = None
    for each in signed:
        before = bisect_left(faulty, each.head.seq)
        if before < len(faulty) and faulty[before] == each.head.seq:
            continue
        first = max(each.stretch, faulty[before - 1] + 1) if before else each.stretch
        if found is not None and first != found[0]:
            break
        found = first, each.head
    return found


def _readable(store: Store, state: LogState) -> Iterator[Entry | BadRow]:
    """Every row of a log that can be read; where the file is damaged, a BadRow and then the log's next part."""
    for first, last in _parts(state):
        at = first
        try:
            for row in store.each(state.log, first, last):
                yield row
                at = row.seq + 1
        except StoreError:
            yield BadRow(state.log, at)


def _fill(new: Path, damaged: Path, logs: tuple[LogFinding, ...]) -> None:
    source = apsw.Connection(str(damaged), flags=apsw.SQLITE_OPEN_READONLY)
    target = apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with target:
            for number, log in enumerate((each for each in logs if each.head), start=1):
                assert log.head is not None
                state = replace(log.state, head=log.head, pruned_to=log.first)
                target.execute(
                    "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)",
                    (number, state.log, state.public_key, state.head.seq, state.head.hash, state.pruned_to),
                )
                rows = _staying(source, state, frozenset(log.kept))
                target.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", ((number, *row) for row in rows))
                if log.is_own:
                    target.execute("INSERT INTO meta VALUES ('own_log', ?)", (state.log,))
            target.executemany("INSERT OR IGNORE INTO carried VALUES (?, ?, ?, ?)", _carried(source))
            with suppress(apsw.CorruptError, apsw.SQLError):
                for proof in store_fork.proofs(source).values():
                    store_fork.keep(target, proof)
            store_fork.drop_without_log(target)
    finally:
        source.close()
        target.close()


def _carried(source: apsw.Connection) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """The rows about logs that were carried, as far as they can be read and are what they should be."""
    with suppress(apsw.CorruptError, apsw.SQLError):  # the latter where a lost table, or an older version, has none
        for no, log, key, nonce in source.execute(
            "SELECT no, CAST(id AS BLOB), CAST(public_key AS BLOB), CAST(nonce AS BLOB) FROM carried NOT INDEXED ORDER BY no"
        ):
            if isinstance(key, bytes) and isinstance(nonce, bytes) and log == log_id(key, nonce):
                yield cast(int, no), log, key, nonce


def _staying(
    source: apsw.Connection, state: LogState, kept: frozenset[int]
) -> Iterator[tuple[int | bytes | None, ...]]:
    """The rows of a log that stay, all columns but the log's number.

    They are read in the order in which they were looked at: another way to them may lead over what is damaged.
    """
    # The index of ids may be damaged as well.
    number = source.execute("SELECT no FROM log NOT INDEXED WHERE id = ?", (state.log,)).get
    for first, last in _parts(state):
        with suppress(apsw.CorruptError):
            for row in source.execute(_COPIED, (number, first, last)):
                seq = cast(int, row[0])
                if seq in kept or state.pruned_to <= seq <= state.head.seq:
                    yield cast(tuple[int | bytes | None, ...], row)
                if seq == state.head.seq:
                    break


def _parts(state: LogState) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and last place of what is kept of a log, and of what is whole."""
    return (0, state.pruned_to - 1), (state.pruned_to, limits.SEQ_MAX)


def _names(name: str) -> Iterator[str]:
    number = 1
    while True:
        yield f"{name}.damaged-{number}"
        number += 1


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
