"""`demesh log heads` and `log verify`: what a node holds, with or without it running."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from demesh.cli.terminal import count
from demesh.identity import peer_id
from demesh.log.entry import Entry, Kind, log_id
from demesh.log.hello import Hello
from demesh.log.results import Results
from demesh.log.store import Store
from demesh.log.writer import Writer
from tests.cli.answering import node_answering, url_answering
from tests.cli.harness import demesh

_MESH, _KEY, _NONCE = b"m" * 16, SigningKey(b"k" * 32), b"n" * 8
_PUBLIC = bytes(_KEY.verify_key)
_LOG = log_id(_PUBLIC, _NONCE)
_ROWS: list[dict[str, Any]] = [{"log": "ab" * 16, "node": None, "peer_id": "12D3KooWx", "seq": 7, "hash": "cd" * 32}]


def _stored(home: Path, count: int = 3) -> list[Entry]:
    """A store of one log: a hello and heartbeats, `count` entries in all."""
    home.mkdir()
    writer = Writer(_KEY, _MESH, b"boot0000", _LOG, None)
    contents: list[tuple[Kind, Any]] = [(Kind.HELLO, Hello(_PUBLIC, _NONCE, "nas", "1").payload())]
    contents += [(Kind.RESULTS, Results(0, ()).payload(n)) for n in range(1, count)]
    entries = [
        writer.write(kind, payload, wall_ms=1_000 + n, up_ms=n, next_ms=25_000)
        for n, (kind, payload) in enumerate(contents)
    ]
    with Store(home / "log.db", mesh_id=_MESH) as store:
        store.commit(entries, public_keys={_LOG: _PUBLIC}, own=True)
    return entries


def _damage(home: Path, sql: str) -> None:
    database = sqlite3.connect(home / "log.db")
    with database:
        database.execute(sql)
    database.close()


def test_heads_without_a_node_come_from_the_store_and_that_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    last = _stored(home)[-1]
    ran = demesh(home, "log", "heads", "--json")
    assert json.loads(ran.out) == [
        {
            "log": _LOG.hex(),
            "node": "nas",
            "peer_id": peer_id(_PUBLIC),
            "seq": 2,
            "hash": last.hash.hex(),
            "forked_at": None,
        }
    ]
    assert ran.code == 0
    assert ran.err == f"No node is running on {home}: this is what its store holds.\n"


def test_heads_are_read_as_lines_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    last = _stored(home)[-1]
    (line,) = demesh(home, "log", "heads").out.splitlines()
    assert line.split() == [_LOG.hex(), "nas", "seq", "2", last.hash.hex()[:16]]


def test_heads_of_a_running_node_come_from_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with node_answering(home, {"/api/v1/log/heads": _ROWS}):
        ran = demesh(home, "log", "heads", "--json")
    assert json.loads(ran.out) == _ROWS
    with url_answering({"/api/v1/log/heads": _ROWS}) as url:
        (line,) = demesh(tmp_path / "nowhere", "log", "heads", "--node", url).out.splitlines()
    assert line.split()[1] == "?", "a log whose member is not known yet"


def test_an_intact_store_is_verified(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _stored(home)
    ran = demesh(home, "log", "verify")
    assert (ran.code, ran.out) == (0, "1 log, 3 entries: all intact\n")
    assert json.loads(demesh(home, "log", "verify", "--json").out) == {
        "logs": 1,
        "entries": 3,
        "faults": [],
        "file_faults": [],
    }


@pytest.mark.parametrize(
    ("sql", "seq", "fault"),
    [
        ("UPDATE entry SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE seq = 1", 1, "damaged"),
        ("UPDATE entry SET signature = zeroblob(64) WHERE seq = 2", 2, "signature is wrong"),
        ("UPDATE entry SET signature = NULL WHERE seq = 0", 0, "signature is missing"),
        ("DELETE FROM entry WHERE seq = 1", 1, "missing"),
    ],
    ids=["bytes", "signature", "no signature", "gap"],
)
def test_each_fault_is_named_and_the_exit_code_is_one(sql: str, seq: int, fault: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    _stored(home)
    _damage(home, sql)
    ran = demesh(home, "log", "verify", "--json")
    assert ran.code == 1
    found = json.loads(ran.out)["faults"]
    assert found[0]["log"] == _LOG.hex()
    assert any(each["seq"] == seq and fault in each["fault"] for each in found)
    text = demesh(home, "log", "verify")
    assert text.code == 1
    assert f"log {_LOG.hex()[:8]} entry {seq}: " in text.out
    assert f": {count(len(found), 'fault')}; see demesh log repair\n" in text.out


def test_a_row_whose_bytes_lost_their_type_is_read_all_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _stored(home)
    _damage(home, "UPDATE entry SET body = CAST(body AS TEXT) WHERE seq = 1")
    assert demesh(home, "log", "verify").out.endswith("all intact\n")


def test_a_store_that_is_no_database_gets_a_sentence(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "log.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    for command, code in (("heads", 1), ("verify", 2), ("tail", 1), ("export", 1)):
        ran = demesh(home, "log", command)
        assert ran.code == code
        assert f"The store {home / 'log.db'} is damaged: file is not a database. Stop the node" in ran.err


def test_a_missing_store_gets_a_sentence(tmp_path: Path) -> None:
    for command in ("heads", "verify", "tail", "export", "repair"):
        ran = demesh(tmp_path, "log", command)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith(f"There is no log at {tmp_path}. ")


def test_damage_to_the_file_that_no_entry_shows_is_found(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _stored(home)
    database = sqlite3.connect(home / "log.db", isolation_level=None)
    database.execute("PRAGMA writable_schema = on")
    database.execute(  # the index now claims to hold what it does not
        "UPDATE sqlite_master SET sql = replace(sql, 'kind <> 3', 'kind <> 1') WHERE name = 'entry_of_kind'"
    )
    database.close()
    ran = demesh(home, "log", "verify")
    assert ran.code == 1
    assert "the file: " in ran.out
    assert "entry_of_kind" in ran.out


def test_a_pruned_log_is_verified_as_what_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _stored(home, 6)
    with Store(home / "log.db", mesh_id=_MESH) as store:
        store.prune(_LOG, 4, [Kind.HELLO], rows_max=100)
    assert demesh(home, "log", "verify").out == "1 log, 3 entries: all intact\n"
    _damage(home, "UPDATE entry SET signature = NULL WHERE seq = 0")
    ran = demesh(home, "log", "verify")
    assert f"log {_LOG.hex()[:8]} entry 0: its signature is missing\n" in ran.out
