import random
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from demesh.errors import StoreError
from demesh.log.audit import audit
from demesh.log.store import Store
from tests.log import until_migrated
from tests.log.builders import MESH, OTHER_MESH, lean_but_tip, log_of, owners, put
from tests.log.version1 import write_version_1

_ANN, _BOB = log_of("ann", 12), lean_but_tip(log_of("bob", 9))
_CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def old(path: Path) -> Path:
    """A store of version 1."""
    write_version_1(path, _ANN[:10], _BOB)
    return path


def _pragma(path: Path, name: str) -> object:
    db = apsw.Connection(str(path))
    try:
        return db.pragma(name)
    finally:
        db.close()


def _holds_all(store: Store) -> None:
    ann, bob = store.logs()
    assert store.read(ann.log, 0, 99) == (_ANN[: ann.head.seq + 1], [])
    assert store.read(bob.log, 0, 99) == (_BOB, [])
    assert store.own_log() == (_ANN[0].log, ann.head)
    assert ann.head.seq >= 9
    assert [fault for state in (ann, bob) for fault in audit(MESH, state, store.each(state.log))] == []


def test_new_store_can_give_space_back(path: Path) -> None:
    Store(path, mesh_id=MESH).close()
    assert _pragma(path, "user_version") == 4
    assert _pragma(path, "auto_vacuum") == 2
    assert list(path.parent.iterdir()) == [path]


def test_store_whose_making_was_interrupted_is_made_anew(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.close()
    assert _pragma(path, "auto_vacuum") == 0
    with Store(path, mesh_id=MESH) as store:
        put(store, _ANN, own=True)
    assert _pragma(path, "auto_vacuum") == 2


def test_old_store_goes_on_in_its_place_and_a_copy_of_it_is_kept(old: Path) -> None:
    with Store(old, readonly=True) as before:
        identity = before.file_identity()
    with Store(old, mesh_id=MESH) as store:
        _holds_all(store)
        assert store.file_identity() == identity, "or the log could not go on"
        store.commit(_ANN[10:], public_keys=owners(_ANN), own=True)
        _holds_all(store)
    assert _pragma(old, "user_version") == 4
    assert _pragma(old, "auto_vacuum") == 2
    copy = old.with_name("log.db.v1-backup")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert _pragma(copy, "user_version") == 1
    with Store(copy, readonly=True) as store:
        _holds_all(store)
        assert store.logs()[0].head.seq == 9
    assert sorted(each.name for each in old.parent.iterdir()) == ["log.db", "log.db.v1-backup"]


def test_copy_holds_what_was_only_in_the_wal(path: Path) -> None:
    other = path.with_name("other.db")
    write_version_1(other, _ANN[:10], _BOB)
    db = apsw.Connection(str(other))
    with db:
        db.execute("UPDATE entry SET received_ms = 77")
    wal = other.with_name("other.db-wal")
    assert wal.stat().st_size > 0
    for source, target in ((other, path), (wal, path.with_name("log.db-wal"))):
        target.write_bytes(source.read_bytes())
    db.close()
    Store(path, mesh_id=MESH).close()
    db = apsw.Connection(str(path.with_name("log.db.v1-backup")))
    assert db.execute("SELECT DISTINCT received_ms FROM entry").get == 77
    db.close()


def test_a_copy_that_is_there_is_not_overwritten(old: Path) -> None:
    copy = old.with_name("log.db.v1-backup")
    copy.write_text("of an earlier attempt")
    with Store(old, mesh_id=MESH) as store:
        _holds_all(store)
    assert copy.read_text() == "of an earlier attempt"


def test_store_that_cannot_be_copied_is_not_changed(old: Path) -> None:
    part = old.with_name("log.db.v1-backup.part")
    part.mkdir()
    with pytest.raises(StoreError, match=r"could not be copied to .*log\.db\.v1-backup"):
        Store(old, mesh_id=MESH)
    assert _pragma(old, "user_version") == 1
    part.rmdir()
    with Store(old, mesh_id=MESH) as store:
        _holds_all(store)


def test_old_store_of_another_mesh_is_refused_unchanged(old: Path) -> None:
    with pytest.raises(StoreError, match="belongs to mesh"):
        Store(old, mesh_id=OTHER_MESH)
    assert _pragma(old, "user_version") == 1
    assert not old.with_name("log.db.v1-backup").exists()


def test_reader_reads_an_old_store_and_leaves_it_as_it_is(old: Path) -> None:
    with Store(old, readonly=True) as store:
        _holds_all(store)
    assert _pragma(old, "user_version") == 1
    assert not old.with_name("log.db.v1-backup").exists()


@pytest.mark.slow
def test_migration_that_is_killed_at_any_moment_is_finished_by_the_next_start(path: Path) -> None:
    chance = random.Random(2)
    killed_inside = 0
    ann = log_of("ann", 2_000)
    for _ in range(6):
        for left in path.parent.iterdir():
            left.unlink()
        write_version_1(path, ann, _BOB)
        command = [sys.executable, "-m", until_migrated.__name__, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT) as process:
            assert process.stdout
            assert process.stdout.readline() == "opening\n"
            time.sleep(chance.uniform(0, 0.03))  # the moment is left to chance
            process.kill()
            killed_inside += process.stdout.read() == ""
        with Store(path, mesh_id=MESH) as store:
            assert store.read(ann[0].log, 0, 10_000) == (ann, [])
            assert store.logs()[1].head == _BOB[-1].head
        assert _pragma(path, "user_version") == 4
        with Store(path.with_name("log.db.v1-backup"), readonly=True) as store:
            assert store.read(ann[0].log, 0, 10_000) == (ann, [])
    assert killed_inside > 0
