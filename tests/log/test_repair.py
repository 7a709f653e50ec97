import shutil
from pathlib import Path

import apsw
import pytest

from demesh.errors import EntryError, StoreError
from demesh.log.audit import audit
from demesh.log.chain import Logs
from demesh.log.codec import values
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from demesh.log.repair import rebuild, survey
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.store_rows import HASH_BYTES_STORED, stored_body
from tests.log.builders import (
    MESH,
    NO_LOG,
    OTHER_MESH,
    Pen,
    bodies,
    key_of,
    lean_but_tip,
    log_of,
    owners,
    public_key_of,
    put,
    rewritten,
)
from tests.log.builders import stripped as without_signature

_OWN = log_of("ann", 8)
_BOB = [
    each if each.seq in (4, 9) else lean
    for each, lean in zip(log_of("bob", 10), lean_but_tip(log_of("bob", 10)), strict=True)
]


def _pruned() -> list[Entry]:
    """A log with a checkpoint at every fifth place."""
    pen = Pen("cy")
    pen.hello()
    while len(pen.entries) < 20:
        pen.fill(len(pen.entries) + 4)
        pen.write(Kind.CHECKPOINT, values([]))
    return pen.entries


_CY = _pruned()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    with Store(path, mesh_id=MESH) as store:
        put(store, _BOB)
        put(store, _OWN, own=True)
        put(store, _CY)
        store.prune(_CY[0].log, 12, [Kind.HELLO, Kind.CHECKPOINT], rows_max=100)
    return path


def _change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


def _repair(path: Path) -> tuple[list[str], Path]:
    found = survey(path, MESH)
    lines = [f"{fault.seq}: {fault.sentence}" for log in found.logs or () for fault in log.faults]
    return lines, rebuild(path, MESH, found)


def _stored(path: Path) -> dict[bytes, list[Entry]]:
    """What is in the store; fails unless all of it is intact and may be gone on with."""
    with Store(path, mesh_id=MESH) as store:
        assert store.file_faults() == []
        assert [fault for state in store.logs() for fault in audit(MESH, state, store.each(state.log))] == []
        return {state.log: [row for row in store.each(state.log) if isinstance(row, Entry)] for state in store.logs()}


def test_an_intact_store_needs_no_repair(path: Path) -> None:
    before = path.read_bytes()
    found = survey(path, MESH)
    assert found.is_intact
    assert found.logs is not None
    assert all(log.head == log.state.head and log.removed is None for log in found.logs)
    assert path.read_bytes() == before


def test_a_log_is_cut_back_to_what_a_signature_vouches_for_and_grows_again(path: Path) -> None:
    _change(path, "UPDATE entry SET body = zeroblob(50) WHERE log = 1 AND seq = 7")
    found = survey(path, MESH)
    assert found.logs is not None
    (bob,) = [log for log in found.logs if log.faults]
    assert (bob.head, bob.removed, bob.is_own) == (_BOB[4].head, (5, 9), False)
    lines, aside = _repair(path)
    assert lines == ["5: no later signature vouches for it", "7: the stored bytes are damaged"]
    stored = _stored(path)
    assert stored[_BOB[0].log] == _BOB[:5]
    assert stored[_OWN[0].log] == _OWN
    assert [entry.seq for entry in stored[_CY[0].log]] == [0, 5, 10, *range(12, 21)]
    assert aside.name == "log.db.damaged-1"
    with Store(path, mesh_id=MESH) as store:
        logs = Logs(MESH, NO_LOG, store.logs())
        taken = logs.offer(_BOB)
        assert taken.refusals == []
        store.commit(taken.accepted, public_keys=owners(_BOB), own=False)
    assert _stored(path)[_BOB[0].log] == _BOB


@pytest.mark.parametrize(
    ("damage", "seqs"),
    [
        ("DELETE FROM entry WHERE log = 2 AND seq = 3", [0, 1, 2]),
        ("UPDATE entry SET hash = zeroblob(32) WHERE log = 2 AND seq = 3", [0, 1, 2]),
        ("UPDATE entry SET signature = zeroblob(64) WHERE log = 2 AND seq = 5", [0, 1, 2, 3, 4]),
        ("UPDATE entry SET kind = 1 WHERE log = 2 AND seq = 1", [0]),
        ("UPDATE entry SET body = NULL WHERE log = 2 AND seq = 0", [*range(1, 8)]),
        ("UPDATE log SET head_hash = zeroblob(32) WHERE no = 2", [*range(8)]),
        ("UPDATE log SET head_seq = 20 WHERE no = 2", [*range(8)]),
        ("UPDATE log SET head_seq = 2 WHERE no = 2", [*range(8)]),
        ("UPDATE log SET public_key = zeroblob(32) WHERE no = 2", None),
        ("UPDATE log SET pruned_to = 6 WHERE no = 2", [0, 6, 7]),
        ("DELETE FROM entry WHERE log = 2", None),
    ],
)
def test_the_own_log_keeps_its_intact_beginning_and_nothing_is_signed_anew(
    path: Path, damage: str, seqs: list[int] | None
) -> None:
    if "body = NULL" in damage:
        _change(path, "PRAGMA writable_schema = on")
        db = apsw.Connection(str(path))
        db.pragma("writable_schema", True)
        db.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'body BLOB NOT NULL', 'body BLOB') WHERE name = 'entry'"
        )
        db.close()
    _change(path, damage)
    with Store(path, readonly=True) as store:
        identity = store.file_identity()
    lines, _ = _repair(path)
    assert lines != []
    stored = _stored(path)
    assert stored.get(_OWN[0].log) == (None if seqs is None else [_OWN[seq] for seq in seqs])
    assert stored[_BOB[0].log] == _BOB
    with Store(path, mesh_id=MESH) as store:
        assert store.file_identity() != identity, "so that a new epoch begins"
        assert store.own_log() == (None if seqs is None else (_OWN[0].log, _OWN[seqs[-1]].head))


@pytest.mark.parametrize(
    ("damage", "first", "last"),
    [
        ("UPDATE entry SET body = zeroblob(50) WHERE log = 2 AND seq = 0", 1, 7),
        ("DELETE FROM entry WHERE log = 2 AND seq < 3", 3, 7),
        ("UPDATE entry SET signature = zeroblob(64) WHERE log = 2 AND seq IN (0, 1)", 2, 7),
        ("UPDATE entry SET body = zeroblob(50) WHERE log = 2 AND seq IN (0, 5)", 1, 4),
        ("UPDATE entry SET body = zeroblob(50) WHERE log = 3 AND seq = 12", 13, 20),
    ],
)
def test_log_that_lost_its_beginning_is_shortened_to_what_is_behind(
    path: Path, damage: str, first: int, last: int
) -> None:
    whole, before = (_CY, [0, 5, 10]) if "log = 3" in damage else (_OWN, [])
    _change(path, damage)
    found = survey(path, MESH)
    assert found.logs is not None
    (log,) = [log for log in found.logs if log.faults]
    end = whole[-1].seq
    assert (log.first, log.head, log.removed) == (first, whole[last].head, (last + 1, end) if last < end else None)
    _repair(path)
    assert _stored(path)[whole[0].log] == [whole[seq] for seq in [*before, *range(first, last + 1)]]
    with Store(path, mesh_id=MESH) as store:
        assert store.pruned_to(whole[0].log) == first


def test_shortened_log_can_be_taken_up_by_peers_that_know_it(path: Path) -> None:
    _change(path, "UPDATE entry SET body = zeroblob(50) WHERE log = 2 AND seq = 0")
    _repair(path)
    entries = _stored(path)[_OWN[0].log]
    before = Head(0, entries[0].prev)
    knows = Logs(MESH, NO_LOG, [LogState(_OWN[0].log, public_key_of("ann"), _OWN[0].head)])
    assert knows.offer(entries).accepted == entries
    with pytest.raises(EntryError, match="no hello"):
        Logs(MESH, NO_LOG).adopt(_OWN[0].log, before, [], entries)


def test_log_that_began_with_something_else_than_a_hello_is_shortened_too(path: Path) -> None:
    other = rewritten(_OWN[0], key_of("ann"), kind=Kind.EVENT)
    eve = [other, rewritten(_OWN[1], key_of("ann"), prev=other.hash)]
    db = apsw.Connection(str(path))
    db.execute("DELETE FROM entry WHERE log = 2")
    for each in eve:
        db.execute(
            "INSERT INTO entry (log, seq, kind, hash, body, signature) VALUES (2, ?, ?, ?, ?, ?)",
            (each.seq, each.kind, each.hash[:HASH_BYTES_STORED], stored_body(each), each.signature),
        )
    db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = 2", (eve[-1].seq, eve[-1].hash))
    db.close()
    lines, _ = _repair(path)
    assert lines == ["0: the log does not begin with its hello"]
    assert _stored(path)[_OWN[0].log] == eve[1:]


def test_of_what_is_kept_below_only_faulty_entries_go(path: Path) -> None:
    _change(path, "UPDATE entry SET body = zeroblob(50) WHERE log = 3 AND seq = 5")
    lines, _ = _repair(path)
    assert lines == ["5: the stored bytes are damaged"]
    assert [entry.seq for entry in _stored(path)[_CY[0].log]] == [0, 10, *range(12, 21)]
    with Store(path, mesh_id=MESH) as store:
        assert store.logs()[2] == LogState(_CY[0].log, public_key_of("cy"), _CY[-1].head, 12)


def test_log_of_which_nothing_is_whole_yet_is_left_alone(path: Path) -> None:
    with Store(path, mesh_id=MESH) as store:
        dan = log_of("dan", 9)
        store.commit_kept(dan[:1], log=dan[0].log, public_key=public_key_of("dan"), before=dan[5].head)
    assert survey(path, MESH).is_intact
    _change(path, "DELETE FROM entry WHERE log = 2 AND seq = 3")
    _repair(path)
    assert _stored(path)[dan[0].log] == dan[:1]


def test_unvouched_end_is_cut_off(path: Path) -> None:
    with Store(path, mesh_id=MESH) as store:
        more = log_of("bob", 12)[10:]
        store.commit(list(map(without_signature, more)), public_keys={}, own=False)
    lines, _ = _repair(path)
    assert lines == ["10: no later signature vouches for it"]
    assert _stored(path)[_BOB[0].log] == _BOB


def test_what_can_be_read_of_a_damaged_file_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    ann, bob = log_of("ann", 400), log_of("bob", 400)
    with Store(path, mesh_id=MESH) as store:
        put(store, ann, own=True)
        put(store, bob)
    raw = bytearray(path.read_bytes())
    at = raw.index(bob[200].body[19:]) // 4_096 * 4_096
    raw[at : at + 4_096] = bytes(4_096)
    path.write_bytes(raw)
    found = survey(path, MESH)
    assert found.file_faults
    aside = rebuild(path, MESH, found)
    assert aside.read_bytes() == raw, "the damaged file is as it was"
    stored = _stored(path)
    assert bodies(stored[ann[0].log]) == bodies(ann)
    kept = stored[bob[0].log]
    assert bodies(kept) == bodies(bob[: len(kept)])
    assert kept[-1].signature
    assert 140 < len(kept) <= 200


def test_file_of_which_nothing_can_be_read_makes_way(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1_000)
    found = survey(path, MESH)
    assert found.logs is None
    aside = rebuild(path, MESH, found)
    assert aside.read_bytes() == b"Dear diary, " * 1_000
    assert _stored(path) == {}


def test_wal_goes_with_its_file(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "log.db"
    copy.parent.mkdir()
    with Store(path, mesh_id=MESH) as store:
        more = log_of("ann", 12)[8:]
        store.commit(more, public_keys={}, own=True)
        for name in ("log.db", "log.db-wal"):
            shutil.copy(path.with_name(name), copy.with_name(name))
    _, aside = _repair(copy)
    assert _stored(copy)[_OWN[0].log] == [*_OWN, *more]
    left = {each.name for each in copy.parent.iterdir()} - {"log.db.damaged-1-shm"}
    assert left == {"log.db", "log.db.damaged-1", "log.db.damaged-1-wal"}
    with Store(aside, readonly=True) as store:
        assert store.logs()[1].head == more[-1].head


def test_every_repair_keeps_the_store_it_found(path: Path) -> None:
    for number in (1, 2):
        _change(path, f"DELETE FROM entry WHERE log = 2 AND seq = {8 - 2 * number}")
        assert _repair(path)[1] == path.with_name(f"log.db.damaged-{number}")
    assert _stored(path)[_OWN[0].log] == _OWN[:4]


def test_repair_that_fails_leaves_the_store_in_its_place(path: Path) -> None:
    _change(path, "DELETE FROM entry WHERE log = 2 AND seq = 3")
    before = path.read_bytes()
    path.with_name("log.db.repaired").mkdir()
    with pytest.raises(StoreError, match=r"log\.db could not be repaired: "):
        _repair(path)
    assert path.read_bytes() == before


def test_store_of_a_later_version_is_not_for_this_one_to_repair(path: Path) -> None:
    _change(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        survey(path, MESH)


def test_what_a_store_says_of_its_mesh_may_be_damaged_too(path: Path) -> None:
    _change(path, "UPDATE meta SET value = zeroblob(16) WHERE key = 'mesh_id'")
    with pytest.raises(StoreError, match="belongs to mesh 00000000, not to 01020304"):
        survey(path, OTHER_MESH)
    found = survey(path, MESH)
    assert found.file_faults == ("it says that it is of mesh 00000000, and holds entries of 00010203",)
    rebuild(path, MESH, found)
    assert _stored(path)[_OWN[0].log] == _OWN
