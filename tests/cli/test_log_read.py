"""`demesh log tail` and `log export`: what a person reads, and what another program can verify."""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cbor2
import pytest

from demesh.log.bye import Bye
from demesh.log.codec import values
from demesh.log.entry import Entry, Kind, decode_envelope, entry_of, verify
from demesh.log.plan import PlanRow, split_plan
from demesh.log.results import Result, Results
from demesh.log.store import Store
from demesh.outcome import Outcome
from tests.cli.harness import demesh
from tests.log.builders import MESH, START_WALL_MS, Pen, bodies, lean_but_tip, public_key_of, put

_UNKNOWN_KIND = 77


def _row(name: str) -> PlanRow:
    return PlanRow(name, "http", "https://x", bytes(16), True, 60_000, 10_000, 5_000, 2, 2, 0, "critical")


def _ann() -> list[Entry]:
    pen = Pen("ann")
    pen.hello()
    for part in split_plan([_row("web"), _row("db\x1b[2J")]):
        pen.write(Kind.PLAN, part.payload())
    up_ms = pen.clock.up_ms()
    results = (
        Result(0, up_ms, Outcome.PASS, 31_000),
        Result(1, up_ms, Outcome.FAIL, None, "connection refused\x1b[31m"),
    )
    pen.write(Kind.RESULTS, Results(1, results).payload(up_ms + 1_000))
    pen.write(Kind.RESULTS, Results(1, ()).payload(0))
    pen.write(_UNKNOWN_KIND, values(["what", b"ever"]))  # pyright: ignore[reportArgumentType] of a later version
    pen.write(Kind.HELLO, values(["not", "a", "hello"]))
    pen.write(Kind.BYE, Bye("stopped", 600_000).payload())
    return lean_but_tip(pen.entries)


_ANN, _BOB = _ann(), Pen("bob").fill(30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    with Store(home / "log.db", mesh_id=MESH) as store:
        put(store, _ANN, _BOB)
    return home


def _lines(home: Path, *arguments: str) -> list[dict[str, Any]]:
    ran = demesh(home, "log", *arguments)
    assert (ran.code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def _places(rows: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["node"], row["seq"]) for row in rows]


def test_tail_says_what_each_entry_says(home: Path) -> None:
    ran = demesh(home, "log", "tail", "--log", "ann")
    assert ran.code == 0
    lines = [line.split(maxsplit=4) for line in ran.out.splitlines()]
    assert [" ".join(line[1:]) for line in lines] == [
        "ann 0 hello ann 0.1.0",
        "ann 1 plan 2 checks: web, db\ufffd[2J",
        "ann 2 results db\ufffd[2J fail (connection refused\ufffd[31m), web pass 31 ms",
        "ann 3 results heartbeat",
        "ann 4 77 of a kind that this version does not know",
        "ann 5 hello means nothing here: the hello: public key must be a byte string of 32 bytes",
        "ann 6 bye stopped, back within 600 s",
    ]
    assert [line[0] for line in lines][:2] == ["2023-11-14T22:13:21.000Z", "2023-11-14T22:13:22.000Z"]
    assert "\x1b" not in ran.out


def test_tail_takes_the_newest_of_all_logs_in_the_order_of_their_dates(home: Path) -> None:
    rows = _lines(home, "tail", "-n", "4", "--json")
    assert _places(rows) == [("bob", seq) for seq in (26, 27, 28, 29)]
    rows = _lines(home, "tail", "-n", "34", "--json")
    assert _places(rows)[:4] == [("bob", 1), ("ann", 2), ("bob", 2), ("ann", 3)]
    assert [row["wall_ms"] for row in rows] == sorted(row["wall_ms"] for row in rows)
    assert len(_lines(home, "tail", "-n", "1000", "--json")) == len(_ANN) + len(_BOB)


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (["--kind", "hello"], [("ann", 0), ("bob", 0), ("ann", 5)]),
        (["--kind", "results", "-n", "2"], [("bob", 28), ("bob", 29)]),
        (["--kind", "77"], [("ann", 4)]),
        (["--kind", "3", "--log", "ann"], [("ann", 2), ("ann", 3)]),
        (["--kind", "rollup"], []),
        (["--log", _BOB[0].log.hex()[:8], "-n", "1"], [("bob", 29)]),
    ],
)
def test_tail_shows_only_what_is_asked_for(home: Path, arguments: list[str], places: list[tuple[str, int]]) -> None:
    assert _places(_lines(home, "tail", "--json", *arguments)) == places


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tail", "--log", "eve"], "No log here is 'eve'. There are: ann, bob."),
        (["tail", "--kind", "gossip"], "--kind: 'gossip' is none. There are hello, plan, results, "),
        (["tail", "--kind", "65536"], "--kind: '65536' is none."),
        (["export", "--log", "eve"], "No log here is 'eve'."),
        (["export", "--since", "noon"], "--since: 'noon' is neither a duration (24h, 7d) nor a time"),
        (["export", "-o", "/proc/nowhere/x"], "Cannot write /proc/nowhere/x: "),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    ran = demesh(home, "log", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)


def test_a_damaged_entry_is_shown_as_that(home: Path, tmp_path: Path) -> None:
    with Store(home / "log.db", mesh_id=MESH) as store:
        store._db.execute("UPDATE entry SET body = zeroblob(9) WHERE log = 2 AND seq = 29")
    assert "29  ?           the stored bytes are damaged" in demesh(home, "log", "tail", "--log", "bob").out
    ran = demesh(home, "log", "export", "-o", str(tmp_path / "all"))
    assert ran.code == 1
    assert ran.err == f"log {_BOB[0].log.hex()[:8]} entry 29: the stored bytes are damaged\n"
    (bad,) = [row for row in map(json.loads, (tmp_path / "all").read_text().splitlines()) if "fault" in row]
    assert bad == {"log": _BOB[0].log.hex(), "node": "bob", "seq": 29, "fault": "the stored bytes are damaged"}


def test_exported_entries_are_whole_and_can_be_verified_elsewhere(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    assert demesh(home, "log", "export", "--output", str(out)).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    entries = [decode_envelope(base64.b64decode(row["envelope"])) for row in rows]
    assert bodies(entries) == bodies([*_ANN, *_BOB])
    assert [bool(entry.signature) for entry in entries] == [row["signed"] for row in rows]
    assert [row["hash"] for row in rows] == [entry.hash.hex() for entry in entries]
    assert verify(public_key_of("bob"), MESH, entries[-1])
    assert list(tmp_path.glob("*.part")) == []
    hello, plan, results = rows[:3]
    assert hello["said"]["public_key"] == public_key_of("ann").hex()
    assert [row["name"] for row in plan["said"]["rows"]] == ["web", "db\x1b[2J"]
    assert results["said"]["results"][1] == {
        "check": "db\x1b[2J",
        "outcome": "fail",
        "latency_us": None,
        "detail": "connection refused\x1b[31m",
        "age_ms": 1_000,
    }
    assert results["signed"] is False
    assert rows[4]["said"] is None
    assert rows[5]["said"] is None


def test_cbor_export_is_the_envelopes_one_after_the_other(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "bob.cbor"
    assert demesh(home, "log", "export", "--log", "bob", "--format", "cbor", "-o", str(out)).code == 0
    with out.open("rb") as file:
        assert bodies([entry_of(cbor2.load(file)) for _ in _BOB]) == bodies(_BOB)
        assert file.read() == b""


def test_export_since_a_time_leaves_out_what_is_older(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "some"
    assert START_WALL_MS == 1_700_000_000_000  # 22:13:20 UTC
    assert demesh(home, "log", "export", "--since", "2023-11-14T22:13:45Z", "-o", str(out)).code == 0
    assert _places([json.loads(line) for line in out.read_text().splitlines()]) == [
        ("bob", seq)
        for seq in (0, *range(24, 30))  # and the hello, without which nobody knows whose the rest is
    ]
    assert demesh(home, "log", "export", "--since", "24h", "-o", str(out)).code == 0
    assert out.read_text() == ""


def test_follow_goes_on_with_new_entries_and_new_logs(home: Path) -> None:
    command = [sys.executable, "-m", "demesh", "log", "tail", "-n", "1", "--follow", "--json", "--data-dir", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        try:
            assert json.loads(process.stdout.readline())["seq"] == 29
            with Store(home / "log.db", mesh_id=MESH) as store:
                put(store, Pen("cy").fill(1))
                store.commit(Pen("bob").fill(31)[30:], public_keys={}, own=False)
            found = {(row["node"], row["seq"]) for row in (json.loads(process.stdout.readline()) for _ in range(2))}
            assert found == {("cy", 0), ("bob", 30)}
        finally:
            process.kill()
