"""One flipped bit anywhere in a store, or in its WAL, is harmless, found, or refused in a sentence.

Never is it a traceback, and never another entry than was written. What is found can be repaired; what the WAL lost makes the
next start begin a new epoch.
"""

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demesh.errors import StoreError
from demesh.log.audit import audit
from demesh.log.codec import values
from demesh.log.entry import Entry, Kind
from demesh.log.epoch import Marker, NewEpoch, decide_epoch
from demesh.log.repair import rebuild, survey
from demesh.log.store import Store
from tests.crash.test_faults import verify_once
from tests.in_memory import directory_in_memory
from tests.log.builders import BOOT8, MESH, Pen, lean_but_tip, log_of, put

_COARSE_STEP = 61
_UNUSED_STEP = 64
_PATTERNS = (0x01, 0x80, 0xFF)


def _pruned_log() -> list[Entry]:
    pen = Pen("cy")
    pen.hello()
    pen.fill(3)
    pen.write(Kind.CHECKPOINT, values([]))
    return pen.fill(5)


_OWN, _BOB, _CY = log_of("ann", 3), lean_but_tip(log_of("bob", 3)), _pruned_log()
_KNOWN = {entries[0].log: entries for entries in (_OWN, _BOB, _CY)}
_STORED = {(e.log, e.seq) for e in (*_OWN, *_BOB, _CY[0], *_CY[3:])}


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Where a store may lie: thousands of them are opened."""
    monkeypatch.setattr("demesh.log.audit.verify", verify_once)
    with directory_in_memory() as found:
        yield found


@dataclass(frozen=True)
class _Files:
    """A store as it lies on the disk."""

    database: bytes
    wal: bytes

    def put(self, path: Path) -> None:
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(self.database)
        if self.wal:
            path.with_name(path.name + "-wal").write_bytes(self.wal)


def _write(directory: Path, *, in_wal: bool) -> _Files:
    """A store; with `in_wal` all but its beginning is still in the WAL."""
    path = directory / "log.db"
    with Store(path, mesh_id=MESH) as store:
        put(store, _BOB, _CY)
        store.prune(_CY[0].log, 3, [Kind.HELLO], rows_max=9)
        if not in_wal:
            put(store, _OWN, own=True)
    with Store(path, mesh_id=MESH) as store:
        if in_wal:
            put(store, _OWN[:2], own=True)
            for entry in _OWN[2:]:
                store.commit([entry], public_keys={}, own=True)
        return _Files(path.read_bytes(), path.with_name("log.db-wal").read_bytes() if in_wal else b"")


def _entries(store: Store) -> set[tuple[bytes, int]]:
    """Where there are entries; fails if one is not what was written there."""
    found: set[tuple[bytes, int]] = set()
    for state in store.logs():
        for row in store.each(state.log):
            if isinstance(row, Entry):
                known = _KNOWN[row.log][row.seq]
                assert row.body == known.body
                found.add((row.log, row.seq))
    return found


def _outcome(path: Path) -> str:
    """What became of the store at `path`; fails unless it is one of what may be."""
    try:
        with Store(path, mesh_id=MESH) as store:
            found = _entries(store)
            faults = [*store.file_faults(), *(f for s in store.logs() for f in audit(MESH, s, store.each(s.log)))]
            own = store.own_log()
        if not faults:
            assert found <= _STORED
            return "same" if found == _STORED and own else "shorter"
        said = "found"
    except StoreError:
        said = "refused"
    try:
        rebuild(path, MESH, survey(path, MESH))
    except StoreError as error:
        if "Use the version of demesh that wrote it" not in str(error):
            raise
        return "refused for good"
    with Store(path, mesh_id=MESH) as store:
        assert _entries(store) <= _STORED
        assert store.file_faults() == []
        assert [fault for state in store.logs() for fault in audit(MESH, state, store.each(state.log))] == []
    return f"{said}, repaired"


def _flip(files: _Files, directory: Path, step: int, patterns: tuple[int, ...]) -> Counter[str]:
    """Flip bits at every `step`-th byte of the database; returns how often there was which outcome."""
    path = directory / "log.db"
    outcomes: Counter[str] = Counter()
    # Most of a small database is unused; of that a part will do.
    places = [at for at in range(0, len(files.database), step) if files.database[at] or at % _UNUSED_STEP == 0]
    for at in places:
        flipped = bytearray(files.database)
        flipped[at] ^= patterns[at // step % len(patterns)]
        _Files(bytes(flipped), b"").put(path)
        try:
            outcomes[_outcome(path)] += 1
        except Exception as error:
            raise AssertionError(f"byte {at}, {files.database[at]:#x} -> {flipped[at]:#x}") from error
    return outcomes


def _check_all(directory: Path, step: int, patterns: tuple[int, ...]) -> None:
    files = _write(directory, in_wal=False)
    outcomes = _flip(files, directory, step, patterns)
    print(f"{sum(outcomes.values())} flips: {dict(outcomes)}")
    assert outcomes["found, repaired"] > 0
    assert outcomes["refused, repaired"] > 0
    assert outcomes["same"] > 0
    # Only what says which log is the own one can be lost without a word: then a new epoch begins.
    assert outcomes["shorter"] <= 60


def test_a_flipped_bit_here_and_there_is_never_another_entry(directory: Path) -> None:
    _check_all(directory, _COARSE_STEP, _PATTERNS)


@pytest.mark.slow
def test_a_flipped_bit_in_any_byte_is_never_another_entry(directory: Path) -> None:
    _check_all(directory, 1, (0x10,))


@pytest.mark.parametrize("step", [16 * _COARSE_STEP, pytest.param(_COARSE_STEP, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_the_wal_costs_its_end_and_then_a_new_epoch_begins(directory: Path, step: int) -> None:
    files = _write(directory, in_wal=True)
    path = directory / "log.db"
    shorter = 0
    for at in range(0, len(files.wal), step):
        flipped = bytearray(files.wal)
        flipped[at] ^= _PATTERNS[at // step % len(_PATTERNS)]
        _Files(files.database, bytes(flipped)).put(path)
        with Store(path, mesh_id=MESH) as store:
            assert _entries(store) <= _STORED
            assert store.file_faults() == []
            own = store.own_log()
            marker = Marker(BOOT8, store.file_identity(), _OWN[0].log, _OWN[-1].head)
            decision = decide_epoch(
                own, marker, BOOT8, store.file_identity(), True, lambda seq: store.hash_at(_OWN[0].log, seq)
            )
            if own is None or own[1] != _OWN[-1].head:
                shorter += 1
                assert isinstance(decision, NewEpoch), at
            assert [fault for state in store.logs() for fault in audit(MESH, state, store.each(state.log))] == []
    assert shorter > len(files.wal) / step / 2
