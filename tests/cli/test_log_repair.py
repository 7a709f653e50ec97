"""`demesh log repair`: what it says, what it leaves alone."""

from pathlib import Path

import pytest

from demesh.home import Home, HomeLock, MarkerFile, Running
from demesh.log.epoch import Marker
from demesh.log.store import Store
from tests.cli.harness import demesh
from tests.log.builders import MESH, log_of, put

_ANN, _BOB = log_of("ann", 6), log_of("bob", 6)
_A, _B = _ANN[0].log.hex()[:8], _BOB[0].log.hex()[:8]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    home.mesh_id.write_text(MESH.hex() + "\n")
    with Store(home.log_db, mesh_id=MESH) as store:
        put(store, _ANN, own=True)
        put(store, _BOB)
    return home


def _damage(home: Home, sql: str) -> None:
    with Store(home.log_db, mesh_id=MESH) as store:
        store._db.execute(sql)


def test_an_intact_store_is_left_alone(home: Home) -> None:
    before = home.log_db.read_bytes()
    for arguments in ([], ["--dry-run"]):
        ran = demesh(home.path, "log", "repair", *arguments)
        assert (ran.code, ran.out) == (0, "Nothing to repair: all is intact.\n")
    assert home.log_db.read_bytes() == before


def test_what_is_done_is_said_entry_by_entry_and_then_done(home: Home, tmp_path: Path) -> None:
    marker = MarkerFile(tmp_path / "demesh", home)
    marker.write(Marker(bytes(8), "1:2", _ANN[0].log, _ANN[-1].head))
    _damage(home, "UPDATE entry SET body = zeroblob(9) WHERE log = 1 AND seq = 3")
    _damage(home, "DELETE FROM entry WHERE log = 2 AND seq = 0")
    said = [
        f"log {_A} (this node's own) entry 3: the stored bytes are damaged",
        f"log {_A} (this node's own): entries 3 to 5 go, entry 2 is its head then",
        f"log {_B} entry 0: entries 0 to 0 are missing",
        f"log {_B}: nothing in front of entry 1 can stay; the log begins there then",
    ]
    tried = demesh(home.path, "log", "repair", "--dry-run")
    assert (tried.code, tried.out.splitlines()) == (1, said)
    assert marker.read() is not None
    assert demesh(home.path, "log", "verify").code == 1, "a dry run changes nothing"
    ran = demesh(home.path, "log", "repair")
    assert ran.code == 0
    assert ran.out.splitlines()[:4] == said
    assert f"The damaged store is {home.log_db}.damaged-1 now" in ran.out
    assert marker.read() is None
    assert demesh(home.path, "log", "verify").out == "2 logs, 8 entries: all intact\n"


def test_a_running_node_is_in_the_way(home: Home) -> None:
    lock = HomeLock(home)
    lock.announce(Running(1, "/none", None))
    ran = demesh(home.path, "log", "repair")
    lock.release()
    assert (ran.code, ran.out) == (2, "")
    assert "is running on" in ran.err


def test_a_store_that_is_no_database_makes_way_for_an_empty_one(home: Home) -> None:
    home.log_db.write_bytes(b"not a database, but long enough to be looked at" * 100)
    ran = demesh(home.path, "log", "repair")
    assert ran.code == 0
    assert "Nothing in it can be read" in ran.out
    assert demesh(home.path, "log", "verify").out == "0 logs, 0 entries: all intact\n"
