from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demesh.errors import StoreDamaged, StoreError
from demesh.log.audit import audit
from demesh.log.codec import encode
from demesh.log.entry import BadRow, Entry, Envelope, Kind
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.store_rows import _uint
from tests.log.builders import (
    MESH,
    OTHER_MESH,
    Pen,
    lean_but_tip,
    log_of,
    owners,
    public_key_of,
    put,
    stripped,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def store(path: Path) -> Generator[Store]:
    with Store(path, mesh_id=MESH) as store:
        yield store


def _read(store: Store, entries: list[Entry], first: int = 0, last: int = 10**6) -> list[Entry]:
    found, bad = store.read(entries[0].log, first, last)
    assert bad == []
    return found


def _faults(store: Store) -> list[tuple[int, str]]:
    return [
        (fault.seq, fault.sentence) for state in store.logs() for fault in audit(MESH, state, store.each(state.log))
    ]


def _change(path: Path, sql: str, *bindings: bytes | int) -> None:
    """Change the file behind the store's back."""
    db = apsw.Connection(str(path))
    with db:
        db.execute(sql, bindings)
    db.close()


def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    ann, bob = log_of("ann", 5), lean_but_tip(log_of("bob", 4))
    with Store(path, mesh_id=MESH) as store:
        put(store, ann, own=True)
        put(store, bob)
        identity = store.file_identity()
    with Store(path, mesh_id=MESH) as store:
        assert _read(store, ann) == ann
        assert _read(store, bob) == bob
        assert list(store.each(bob[0].log)) == bob
        assert store.logs() == [
            LogState(ann[0].log, public_key_of("ann"), ann[4].head),
            LogState(bob[0].log, public_key_of("bob"), bob[3].head),
        ]
        assert store.own_log() == (ann[0].log, ann[4].head)
        assert store.mesh_id() == MESH
        assert store.file_identity() == identity
        assert _faults(store) == []
        more = log_of("ann", 6)[5:]
        store.commit(more, public_keys=owners(ann), own=True)
        assert _read(store, ann) == ann + more


def test_newest_epoch_is_the_own_log(store: Store) -> None:
    assert store.own_log() is None
    before, now = log_of("ann", 3, epoch=0), log_of("ann", 2, epoch=1)
    put(store, log_of("bob", 2))
    assert store.own_log() is None
    put(store, before, own=True)
    put(store, now, own=True)
    assert store.own_log() == (now[0].log, now[1].head)
    assert store.own_log(public_key_of("ann")) == store.own_log()
    assert store.own_log(public_key_of("bob")) is None, "the key was replaced"


def test_ranges_are_read(store: Store) -> None:
    ann = log_of("ann", 8)
    put(store, ann)
    assert _read(store, ann, 2, 4) == ann[2:5]
    assert _read(store, ann, 6, 20) == ann[6:]
    assert _read(store, ann, 8, 20) == []
    assert store.read(b"no such log 1234", 0, 9) == ([], [])
    assert store.hash_at(ann[0].log, 3) == ann[3].hash
    assert store.hash_at(ann[0].log, 8) is None
    assert store.hash_at(b"no such log 1234", 0) is None


def test_a_read_ends_before_it_exceeds_its_bytes_but_is_never_empty(store: Store) -> None:
    ann = log_of("ann", 8)
    put(store, ann)
    for count in (1, 2, 5):
        fitting = sum(entry.size for entry in ann[:count])
        assert store.read(ann[0].log, 0, 7, bytes_max=fitting)[0] == ann[:count]
        assert store.read(ann[0].log, 0, 7, bytes_max=fitting - 1)[0] == ann[: max(1, count - 1)]


@pytest.mark.parametrize("missing", [0, 3])
def test_a_read_ends_at_a_missing_row(store: Store, path: Path, missing: int) -> None:
    ann = log_of("ann", 6)
    put(store, ann)
    _change(path, "DELETE FROM entry WHERE seq = ?", missing)
    assert _read(store, ann) == ann[:missing]
    assert (missing, f"entries {missing} to {missing} are missing") in _faults(store)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_flipped_byte_is_found_and_not_handed_out(store: Store, path: Path, at: int) -> None:
    ann = log_of("ann", 6)
    put(store, ann)
    body = bytearray(ann[3].body)
    body[at] ^= 4
    _change(path, "UPDATE entry SET body = ? WHERE seq = 3", bytes(body))
    bad = BadRow(ann[0].log, 3)
    assert store.read(ann[0].log, 0, 9) == (ann[:3], [bad])
    assert store.read(ann[0].log, 3, 9) == ([], [bad])
    assert store.read(ann[0].log, 4, 9) == (ann[4:], [])
    assert list(store.each(ann[0].log)) == [*ann[:3], bad, *ann[4:]]
    assert _faults(store) == [(3, "the stored bytes are damaged")]


def test_entry_in_the_place_of_another_is_found(store: Store, path: Path) -> None:
    ann = log_of("ann", 6)
    put(store, ann)
    _change(path, "UPDATE entry SET body = ?, hash = ? WHERE seq = 3", ann[2].body, ann[2].hash)
    assert store.read(ann[0].log, 3, 9) == ([], [BadRow(ann[0].log, 3)])
    assert _faults(store) == [(3, "the stored bytes are damaged")]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entry SET seq = seq",  # none
        "UPDATE entry SET signature = NULL WHERE seq IN (2, 3)",
        "UPDATE entry SET body = (SELECT body FROM entry WHERE seq = 2) WHERE seq = 3",
        "UPDATE entry SET body = b.body, hash = b.hash FROM entry AS b WHERE entry.seq = 3 AND b.seq = 2",
        "UPDATE entry SET body = (SELECT x'8a0150' || log.id || body FROM log) WHERE seq = 3",
        "UPDATE entry SET body = substr(body, 2) WHERE seq = 3",
        "UPDATE entry SET hash = zeroblob(10) WHERE seq = 3",
        "UPDATE entry SET body = NULL WHERE seq = 3",
        "DELETE FROM entry WHERE seq = 3",
        "UPDATE entry SET seq = 400 WHERE seq = 3",
        "UPDATE entry SET kind = 3 WHERE seq = 0",
        "UPDATE entry SET kind = 7 WHERE seq = 3",
    ],
)
@pytest.mark.parametrize("bytes_max", [1, 700, 2**40])
def test_what_is_sent_on_unread_is_what_would_be_read(store: Store, path: Path, damage: str, bytes_max: int) -> None:
    ann = log_of("ann", 300)
    put(store, ann)
    with suppress(apsw.ConstraintError):  # where a column does not take it
        _change(path, damage)
    for first in (0, 3, 20, 250):
        envelopes, bad = store.read_envelopes(ann[0].log, first, 299, bytes_max=bytes_max)
        entries, read_bad = store.read(ann[0].log, first, 299, bytes_max=bytes_max)
        assert envelopes == [Envelope(each.kind, each.body, each.hash, each.signature) for each in entries]
        assert [each.size for each in envelopes] == [each.size for each in entries]
        assert bad == read_bad


@given(st.integers(0, 2**64 - 1))
@example(23)
@example(24)
@example(2**16)
def test_a_number_stands_in_a_body_as_it_is_looked_for(number: int) -> None:
    assert _uint(number) == encode(number)


@pytest.mark.parametrize("change", ["head_hash = zeroblob(32)", "head_seq = 9", "head_seq = 4"])
def test_log_that_does_not_end_where_it_should_is_not_gone_on_with(store: Store, path: Path, change: str) -> None:
    put(store, log_of("bob", 3), log_of("ann", 6))
    _change(path, f"UPDATE log SET {change} WHERE no = 2")
    with pytest.raises(StoreDamaged, match=r"log efb2b321 does not end at its recorded head, entry \d\. Stop the node"):
        Store(path, mesh_id=MESH)
    Store(path, readonly=True).close()


def test_entry_filed_under_another_kind_is_found(store: Store, path: Path) -> None:
    ann = log_of("ann", 4)
    put(store, ann)
    _change(path, "UPDATE entry SET kind = 3 WHERE seq = 0")
    assert _faults(store) == [(0, "the stored bytes are damaged")]


def test_flipped_signature_is_found_by_the_audit(store: Store, path: Path) -> None:
    ann = log_of("ann", 4)
    put(store, ann)
    _change(path, "UPDATE entry SET signature = ? WHERE seq = 2", bytes(64))
    assert _faults(store) == [(2, "its signature is wrong")]


def test_missing_signature_is_kept_as_missing(store: Store) -> None:
    ann = log_of("ann", 3)
    put(store, [ann[0], stripped(ann[1]), ann[2]])
    assert _read(store, ann) == [ann[0], stripped(ann[1]), ann[2]]


def test_a_commit_is_stored_whole_or_not_at_all(store: Store) -> None:
    ann, bob = log_of("ann", 5), log_of("bob", 3)
    put(store, ann[:3])
    with pytest.raises(StoreError, match="could not be written"):
        store.commit([ann[3], *bob, ann[2]], public_keys=owners(ann, bob), own=False)
    assert _read(store, ann) == ann[:3]
    assert [state.log for state in store.logs()] == [ann[0].log]
    put(store, bob)
    assert _read(store, bob) == bob
    assert [state.head for state in store.logs()] == [ann[2].head, bob[2].head]
    assert _faults(store) == []


def test_store_of_another_mesh_is_refused_in_a_sentence(path: Path) -> None:
    Store(path, mesh_id=MESH).close()
    with pytest.raises(StoreError, match=r"belongs to mesh 00010203, not to 01020304\. Use another --data-dir") as said:
        Store(path, mesh_id=OTHER_MESH)
    assert str(path) in str(said.value)


def test_store_of_a_later_version_is_refused_in_a_sentence(path: Path) -> None:
    Store(path, mesh_id=MESH).close()
    _change(path, "PRAGMA user_version = 99")
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"schema version 99; this demesh reads version 4\. Use the version"):
            Store(path, mesh_id=MESH, readonly=readonly)


def test_what_is_no_store_is_refused_in_a_sentence(path: Path) -> None:
    with pytest.raises(StoreError, match="Cannot open the store"):
        Store(path, readonly=True)
    assert not path.exists()
    path.write_bytes(b"Dear diary, " * 100)
    with pytest.raises(StoreDamaged, match="is damaged: file is not a database"):
        Store(path, mesh_id=MESH)


@pytest.mark.parametrize(
    "read",
    [
        lambda store, log: store.read(log, 0, 500),
        lambda store, log: list(store.each(log)),
        lambda store, log: Store(store.path, mesh_id=MESH),
    ],
    ids=["read", "each", "open"],
)
def test_damaged_file_is_reported_in_a_sentence(path: Path, read: Callable[[Store, bytes], object]) -> None:
    ann = log_of("ann", 500)
    with Store(path, mesh_id=MESH) as store:
        put(store, ann)
    raw = bytearray(path.read_bytes())
    with Store(path, readonly=True) as store:
        raw[4_096:] = b"\xff" * (len(raw) - 4_096)
        path.write_bytes(raw)
        with pytest.raises(StoreDamaged, match=r"log\.db is damaged: .* run `demesh log repair`"):
            read(store, ann[0].log)


def test_others_may_read_while_a_node_writes(store: Store, path: Path) -> None:
    ann = log_of("ann", 5)
    put(store, ann[:3])
    with Store(path, readonly=True) as reader:
        with reader.snapshot():
            assert len(_read(reader, ann)) == 3
            store.commit(ann[3:], public_keys=owners(ann), own=False)
            assert len(_read(reader, ann)) == 3
            assert reader.logs()[0].head.seq == 2
        assert _read(reader, ann) == ann
        with pytest.raises(StoreError):
            put(reader, log_of("bob", 1))


def test_newest_entries_of_a_kind_are_found(store: Store) -> None:
    pen = Pen("ann")
    pen.fill(3)
    pen.hello()
    pen.fill(6)
    pen.hello()
    put(store, pen.entries)
    hellos = [pen.entries[seq] for seq in (0, 3, 6)]
    assert store.newest(pen.log, Kind.HELLO) == hellos[2:]
    assert store.newest(pen.log, Kind.HELLO, count=2) == hellos[1:]
    assert store.newest(pen.log, Kind.HELLO, before=6, count=9) == hellos[:2]
    assert store.newest(pen.log, Kind.PLAN) == []


class _File(apsw.VFSFile):
    def __init__(self, disk: "_Disk", name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.syncs += 1
        super().xSync(flags)

    def xWrite(self, data, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.is_full:
            raise apsw.FullError("the test says so")
        super().xWrite(data, offset)


class _Disk(apsw.VFS):
    """A disk that counts how often it is told to make sure, and that can be full."""

    def __init__(self) -> None:
        self.syncs = 0
        self.is_full = False
        super().__init__("counting", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)


@pytest.fixture
def disk() -> Generator[_Disk]:
    disk = _Disk()
    yield disk
    disk.unregister()


def test_own_entries_are_on_the_disk_when_the_commit_returns(disk: _Disk, path: Path) -> None:
    ann = log_of("ann", 6)
    with Store(path, mesh_id=MESH) as store:
        for entry in ann:
            before = disk.syncs
            store.commit([entry], public_keys=owners(ann), own=True)
            assert disk.syncs > before


def test_entries_of_others_cost_no_disk_wait_even_after_own_ones(disk: _Disk, path: Path) -> None:
    ann, bob = log_of("ann", 1), log_of("bob", 6)
    with Store(path, mesh_id=MESH) as store:
        put(store, ann, own=True)
        before = disk.syncs
        for entry in bob:
            store.commit([entry], public_keys=owners(bob), own=False)
        assert disk.syncs == before


def test_full_disk_is_a_store_error_and_loses_nothing(disk: _Disk, path: Path) -> None:
    ann = log_of("ann", 4)
    with Store(path, mesh_id=MESH) as store:
        put(store, ann[:2], own=True)
        disk.is_full = True
        with pytest.raises(StoreError, match="could not be written"):
            store.commit(ann[2:], public_keys=owners(ann), own=True)
        assert _read(store, ann) == ann[:2]
        disk.is_full = False
    with Store(path, mesh_id=MESH) as store:
        assert _read(store, ann) == ann[:2]
        assert _faults(store) == []
