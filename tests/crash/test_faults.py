"""A disk that fails at any one moment of a store's life loses nothing that was promised, and says so in a sentence.

A scenario is run once to count its steps, then once for every step, which fails. Afterwards the store is opened as the disk
has it, and as a power cut would have left it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demesh.errors import StoreError
from demesh.log.audit import audit
from demesh.log.codec import values
from demesh.log.entry import Entry, Kind, verify
from demesh.log.store import Store
from tests.crash.disk import Fault, failing_disk, full, io_error, torn
from tests.log.builders import MESH, Pen, bodies, lean_but_tip, log_of, owners
from tests.log.version1 import write_version_1

pytestmark = pytest.mark.slow

_POWER_CUTS = 2  # for each failing step, which of the unsynced sectors survive is drawn so often


def _pruned_log() -> list[Entry]:
    pen = Pen("cy")
    while len(pen.entries) < 40:
        pen.fill(len(pen.entries) + 7)
        pen.write(Kind.CHECKPOINT, values([]))
    return pen.entries


_OWN, _CY = log_of("ann", 24), _pruned_log()
_BOB = [*lean_but_tip(log_of("bob", 20)), *lean_but_tip(log_of("bob", 40)[20:])]


_OLD = [log_of("dan", 12, epoch=epoch) for epoch in range(2)]


def _carrying_log() -> list[Entry]:
    """A later epoch of the same key, whose carry of the old ones takes two entries."""
    pen = Pen("dan", 9)
    pen.fill(2)
    nonces = [epoch.to_bytes(8, "big") for epoch in range(2)]
    for payload in ([0, 2, [nonces[0]], [], []], [1, 2, [nonces[1]], [], []]):
        pen.write(Kind.CARRY, values(payload))  # pyright: ignore[reportArgumentType]
    return pen.fill(6)


_CARRIER = _carrying_log()


@dataclass
class _Told:
    """What the store has promised so far."""

    own: list[Entry] = field(default_factory=list)
    is_carried: bool = False


def _commit_own(store: Store, told: _Told, upto: int) -> None:
    new = _OWN[len(told.own) : upto]
    store.commit(new, public_keys=owners(_OWN), own=True)
    told.own.extend(new)


def _commit(store: Store, entries: list[Entry], whole: list[Entry]) -> None:
    store.commit(entries, public_keys=owners(whole), own=False)


def _life(path: Path, told: _Told) -> None:
    """A store is made, written to by its node and its peers, pruned, copied and closed."""
    with Store(path, mesh_id=MESH) as store:
        _commit_own(store, told, 3)
        _commit(store, _BOB[:20], _BOB)
        _commit_own(store, told, 4)
        _commit(store, _CY, _CY)
        while store.prune(_CY[0].log, 30, [Kind.HELLO, Kind.CHECKPOINT], rows_max=9):
            _commit_own(store, told, len(told.own) + 1)
        store.release(4)
        _commit_own(store, told, 12)
        store.copy_to(path.with_name("copy.db"))
        _commit(store, _BOB[20:], _BOB)
        _commit_own(store, told, 20)
    with Store(path, mesh_id=MESH) as store:
        _commit_own(store, told, 24)


def _carry(path: Path, told: _Told) -> None:
    """A peer's old epochs are stored, then a carry of them in two pieces; their rows go while the node writes."""
    with Store(path, mesh_id=MESH) as store:
        for entries in _OLD:
            _commit(store, entries, entries)
        _commit_own(store, told, 3)
        _commit(store, _CARRIER[:3], _CARRIER)
        _commit_own(store, told, 4)
        _commit(store, _CARRIER[3:5], _CARRIER)
        _commit_own(store, told, 5)
        told.is_carried = True
        while store.clear(5):
            _commit_own(store, told, len(told.own) + 1)
        _commit(store, _BOB[:20], _BOB)
        _commit(store, _CARRIER[5:], _CARRIER)


def _upgrade(path: Path, told: _Told) -> None:
    """A store of version 1 is opened, written to and closed."""
    told.own.extend(_OWN[:10])
    with Store(path, mesh_id=MESH) as store:
        _commit_own(store, told, 14)


def _nothing_before(path: Path) -> None:
    pass


def _version_1(path: Path) -> None:
    write_version_1(path, _OWN[:10], _BOB)


_SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path, _Told], None]]] = {
    "life": (_nothing_before, _life),
    "carry": (_nothing_before, _carry),
    "upgrade": (_version_1, _upgrade),
}


def _check(path: Path, told: _Told) -> None:
    """Opened again, the store holds all that was promised and nothing that was not, and can be gone on with."""
    known = {entries[0].log: entries for entries in (_OWN, _BOB, _CY, *_OLD, _CARRIER)}
    with Store(path, mesh_id=MESH) as store:
        assert store.file_faults() == []
        for state in store.logs():
            assert list(audit(MESH, state, store.each(state.log))) == []
            assert all(
                isinstance(row, Entry) and row.body == known[row.log][row.seq].body for row in store.each(state.log)
            )
        assert bodies(store.read(_OWN[0].log, 0, 99)[0][: len(told.own)]) == bodies(told.own)
        held = {state.log: state.head.seq for state in store.logs()}
        carried = [log for logs in store.carried().values() for log in logs]
        assert carried in ([], [entries[0].log for entries in _OLD]), "all of it counts, or nothing"
        assert not held.keys() & set(carried)
        assert bool(carried) == (held.get(_CARRIER[0].log, -1) >= 3)
        assert carried or not told.is_carried
        own = store.own_log()
        if told.own:
            assert own is not None
            assert own[0] == _OWN[0].log
        following = own[1].seq + 1 if own else 0
        store.commit(_OWN[following : following + 1], public_keys=owners(_OWN), own=True)


_verified: dict[tuple[bytes, bytes, bytes], bool] = {}


def verify_once(public_key: bytes, mesh_id: bytes, entry: Entry) -> bool:
    """The same few entries are verified thousands of times."""
    key = (public_key, entry.body, entry.signature)
    if key not in _verified:
        _verified[key] = verify(public_key, mesh_id, entry)
    return _verified[key]


@pytest.mark.parametrize(
    ("fault", "stays_broken"),
    [(io_error, False), (torn, False), (full, True), (io_error, True)],
    ids=["an error", "a torn write", "full from then on", "dead from then on"],
)
@pytest.mark.parametrize("name", _SCENARIOS)
def test_disk_that_fails_at_any_step_costs_nothing_that_was_promised(
    tmp_path: Path, name: str, fault: Fault, stays_broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demesh.log.audit.verify", verify_once)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the process does not end, and it takes time
    path = tmp_path / "log.db"
    prepare, scenario = _SCENARIOS[name]
    with failing_disk() as disk:
        disk.fault, disk.stays_broken = fault, stays_broken

        def attempt(fail_at: int) -> tuple[_Told, str]:
            """What was promised, and the sentence that ended it."""
            disk.replace({})
            prepare(path)
            disk.steps, disk.fail_at = 0, fail_at
            told = _Told()
            try:
                scenario(path, told)
            except StoreError as error:  # anything else fails the test
                return told, str(error)
            finally:
                disk.fail_at = 0
            return told, ""

        told, sentence = attempt(0)
        assert sentence == ""
        _check(path, told)
        steps, sentences = disk.steps, 0
        for fail_at in range(1, steps + 1):
            told, sentence = attempt(fail_at)
            sentences += bool(sentence)
            lost = [
                disk.after_power_cut(random.Random(fail_at * 10 + cut) if cut else None) for cut in range(_POWER_CUTS)
            ]
            _check(path, told)
            for files in lost:
                disk.replace(files)
                _check(path, told)
    print(f"{name}, {fault.__name__}: {steps} steps failed, {sentences} in a sentence, {_POWER_CUTS} power cuts each")
    assert sentences > steps / 2
