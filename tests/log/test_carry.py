"""The promises of `demesh.log.carry`, and of what the store and the chain make of one."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from demesh import limits
from demesh.errors import EntryError
from demesh.log.audit import audit
from demesh.log.carry import Carry, CarryReader, carry_payloads, read_carry_part
from demesh.log.chain import Logs
from demesh.log.codec import encode, values
from demesh.log.entry import Entry, Kind
from demesh.log.repair import rebuild, survey
from demesh.log.state import vector_digest
from demesh.log.store import Store
from demesh.log.sums import Sums
from demesh.outcome import Outcome
from tests.log.builders import MESH, NO_LOG, Pen, Shelf, log_of, owners, public_key_of, put, rewritten

_DAY = 19_700


def _sums(passes: int = 1) -> Sums:
    sums = Sums()
    for _ in range(passes):
        sums.count(Outcome.PASS, 12_300)
    sums.up_ms = passes * 60_000
    return sums


def _carry(*epochs: int, epoch: int = 9, checks: int = 3, owner: str = "ann") -> list[Entry]:
    """A log of `owner` with a carry of its `epochs`; with many checks it takes several parts."""
    pen = Pen(owner, epoch)
    pen.fill(2)
    nonces = [each.to_bytes(8, "big") for each in epochs]
    for payload in carry_payloads(nonces, {_DAY: {f"{'c' * 50}{n}": _sums() for n in range(checks)}}):
        pen.write(Kind.CARRY, payload)
    return pen.entries


def _read(payloads: Sequence[Entry]) -> Carry | None:
    reader = CarryReader()
    found = [reader.add(each.seq, each.kind, each.payload) for each in payloads]
    return found[-1]


_OLD = [log_of("ann", 5, epoch=epoch) for epoch in range(3)]
_IDS = [entries[0].log for entries in _OLD]
_NEW = _carry(0, 1)
_MANY = _carry(0, 1, checks=600)


def test_carry_of_many_rows_takes_several_entries_and_counts_once_all_are_there() -> None:
    parts = _MANY[2:]
    assert len(parts) > 2
    assert all(len(encode([each.body, each.signature])) <= limits.ENTRY_BYTES_MAX for each in parts)
    assert _read(parts[:-1]) is None
    assert _read(parts[1:]) is None
    whole = _read(parts)
    assert whole is not None
    assert whole.logs(public_key_of("ann"), _MANY[0].log) == _IDS[:2]
    assert {row.name: row.sums for row in whole.rows} == {f"{'c' * 50}{n}": _sums() for n in range(600)}
    assert {row.day for row in whole.rows} == {_DAY}


def test_something_between_its_parts_ends_a_carry() -> None:
    parts = list(_MANY[2:])
    parts.insert(1, log_of("ann", 2)[1])
    assert _read(parts) is None


def test_nobody_can_name_a_log_of_anybody_else_nor_the_one_it_stands_in() -> None:
    carry = Carry((bytes(8), (9).to_bytes(8, "big")), ())
    assert carry.logs(public_key_of("ann"), _NEW[0].log) == _IDS[:1]
    shelf = Shelf(_OLD[0])
    shelf.take(_carry(0, owner="eve"))
    assert shelf.logs.get(_IDS[0]) is not None


@pytest.mark.parametrize(
    "payload", [[1, 1, [], [], []], [0, 1, [bytes(7)], [], []], [0, 1, [], [_DAY, 1], []], [0, 1, []]]
)
def test_carry_of_another_shape_means_nothing(payload: list[object]) -> None:
    with pytest.raises(EntryError):
        read_carry_part(values(payload))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (0, 3, 1, 2), (2, 1, 3, 0)])
def test_carried_logs_are_gone_whenever_they_arrive_and_do_not_come_back(order: tuple[int, ...]) -> None:
    logs = [*_OLD, _NEW]
    shelf = Shelf()
    for each in order:
        shelf.take(logs[each])
    for each in reversed(order):
        shelf.take(logs[each])
    alone = Shelf(_OLD[2], _NEW)
    assert vector_digest(shelf.logs.states()) == vector_digest(alone.logs.states())
    assert {state.log for state in shelf.store.logs()} == {_IDS[2], _NEW[0].log}
    again = Logs(MESH, NO_LOG, shelf.store.logs(), shelf.store.carried())
    taken = again.offer(_OLD[0])
    assert (taken.accepted, [each.reason for each in taken.refusals]) == ([], ["gone"])


@pytest.mark.parametrize("cut", range(1, len(_MANY)))
def test_carry_that_comes_in_pieces_counts_with_its_last_part(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.db"
    with Store(path, mesh_id=MESH) as store:
        put(store, *_OLD)
        assert store.commit(_MANY[:cut], public_keys=owners(_MANY), own=False) == {}
        assert len(store.logs()) == 4
    with Store(path, mesh_id=MESH) as store:
        assert store.commit(_MANY[cut:], public_keys={}, own=False) == {public_key_of("ann"): _IDS[:2]}
        assert {state.log for state in store.logs()} == {_IDS[2], _MANY[0].log}


def test_rows_of_carried_logs_go_in_steps_and_their_numbers_are_not_used_before(tmp_path: Path) -> None:
    with Store(tmp_path / "log.db", mesh_id=MESH) as store:
        put(store, _OLD[2], _NEW[:2], _OLD[0], _OLD[1])  # the highest numbers go
        store.commit(_NEW[2:], public_keys={}, own=False)
        bob = log_of("bob", 4)
        put(store, bob)
        removed = [store.clear(3)]
        cat = log_of("cat", 4)
        put(store, cat)
        while removed[-1]:
            removed.append(store.clear(3))
        assert (sum(removed), max(removed)) == (10, 3)
        for entries in (_OLD[2], _NEW, bob, cat):
            assert store.read(entries[0].log, 0, 99) == (entries, [])
        assert store.read(_IDS[0], 0, 99) == ([], [])
        assert [fault for state in store.logs() for fault in audit(MESH, state, store.each(state.log))] == []


def test_own_log_that_another_epoch_carries_goes_on_until_the_next_begins(tmp_path: Path) -> None:
    own, other = _OLD[0], log_of("ann", 2, epoch=7)
    with Store(tmp_path / "log.db", mesh_id=MESH) as store:
        put(store, own[:3], own=True)
        put(store, _NEW)
        store.commit(own[3:], public_keys={}, own=True)
        assert store.own_log() is None, "nobody takes more of it, so a start must not go on with it"
        assert store.read(own[0].log, 0, 9)[0] == own
        put(store, other, own=True)
        assert {state.log for state in store.logs()} == {_NEW[0].log, other[0].log}
    logs = Logs(MESH, own[0].log)
    logs.append_own(own[:3])
    logs.end({public_key_of("ann"): [own[0].log]})
    logs.append_own(own[3:])
    assert [state.log for state in logs.states()] == [own[0].log]


def test_so_many_carried_logs_of_a_key_are_remembered_the_last_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CARRIED_LOGS_MAX", 3)
    shelf = Shelf(_carry(0, 1, 2), _carry(1, 2, 3, epoch=10))
    assert shelf.store.carried_nonces()[public_key_of("ann")] == [n.to_bytes(8, "big") for n in (1, 2, 3)]
    assert not shelf.logs.is_gone(_IDS[0])
    assert shelf.logs.is_gone(_IDS[1])


@pytest.mark.parametrize("lost", ["carried", "nothing"])
def test_repair_keeps_what_was_carried(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "log.db"
    with Store(path, mesh_id=MESH) as store:
        put(store, *_OLD, _NEW, log_of("bob", 3))
        bad = rewritten(log_of("bob", 3)[2], Pen("bob").key)
        store._db.execute("UPDATE entry SET body = ? WHERE log = 5 AND seq = 2", (bad.body,))
        if lost == "carried":
            store._db.execute("DELETE FROM carried")
    rebuild(path, MESH, survey(path, MESH))
    with Store(path, mesh_id=MESH) as store:
        assert store.carried() == {public_key_of("ann"): _IDS[:2]}
        assert {state.log for state in store.logs()} >= {_IDS[2], _NEW[0].log}
        assert not {state.log for state in store.logs()} & set(_IDS[:2])


def test_adopted_log_carries_with_what_was_kept_of_it() -> None:
    pen = Pen("ann", 9)
    pen.fill(2)
    for payload in carry_payloads([bytes(8)], {}):
        pen.write(Kind.CARRY, payload)
    pen.fill(12)
    shelf = Shelf(_OLD[0])
    adopted = shelf.logs.adopt(pen.log, pen.entries[9].head, [pen.entries[0], pen.entries[2]], pen.entries[10:])
    assert adopted is not None
    named = shelf.store.commit_kept(
        [pen.entries[0], pen.entries[2]], log=pen.log, public_key=pen.public_key, before=pen.entries[9].head
    )
    assert named == {pen.public_key: [_IDS[0]]}
    assert [state.log for state in shelf.store.logs()] == [pen.log]
