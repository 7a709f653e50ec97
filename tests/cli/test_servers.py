"""`demesh servers`: how a ranking is shown, and what a node is asked for."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answering import node_answering
from tests.cli.harness import Ran, demesh

_DOGDORM = {
    "score": 0.498,
    "node": "fra",
    "tests": 900,
    "failed": 3,
    "uptime_s": 0,
    "uptime_max_s": 86_400,
    "last_success": "2026-01-01T00:00:00Z",
}
_SCORE = {"value": 0.8571, "record": 1.0, "evidence": 0.8571, "now": 1.0}


def _server(host: str, type_: str = "ntp", state: str = "up", transport: str = "udp", **changed: Any) -> dict[str, Any]:
    votes = {"fra": "pass", "nyc": "pass" if state == "up" else "fail", "lab": "unseen"}
    return {
        "name": f"{type_} {host}",
        "type": type_,
        "family": "IPv4",
        "transport": transport,
        "host": host,
        "port": 123,
        "over": transport,
        "address": "192.0.2.7",
        "other_address": None,
        "state": state,
        "since": None,
        "score": _SCORE,
        "dogdorm": _DOGDORM,
        "uptime": 0.99954,
        "observed_ms": 86_400_000,
        "latency_ms": 12.3,
        "vantages": [{"node": node, "vote": vote, "counts": node != "lab"} for node, vote in votes.items()],
        **changed,
    }


_TOLD = [
    _server("a.example.net"),
    _server("b.example.net", state="partial", score={**_SCORE, "value": 0.81}),
    _server(
        "new.example.net",
        "stun",
        score={**_SCORE, "value": 0.0, "record": None},
        uptime=None,
        latency_ms=None,
        dogdorm=None,
    ),
    _server("x\x1b[31m", "mqtt", transport="tcp"),
]


def _ran(home: Path, *arguments: str, query: str = "", told: list[dict[str, Any]] = _TOLD, width: int = 80) -> Ran:
    answers = {f"/api/v1/servers?{query}": {"as_of": "2026-01-01T00:00:00Z", "servers": told}}
    with node_answering(home, answers):
        return demesh(home, "servers", *arguments, COLUMNS=str(width))


def test_each_list_has_a_title_and_its_servers_in_order_with_who_sees_them_how(tmp_path: Path) -> None:
    ran = _ran(tmp_path, width=100)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line for line in lines if " · " in line] == ["MQTT · IPv4 · TCP", "NTP · IPv4 · UDP", "STUN · IPv4 · UDP"]
    ntp = lines[lines.index("NTP · IPv4 · UDP") + 2 :]
    assert " ".join(ntp[0].split()) == "1 a.example.net:123 0.857 0.498 ✔ up fra✔ nyc✔ (lab) 99.95 % 12 ms"
    assert " ".join(ntp[1].split()) == "2 b.example.net:123 0.810 0.498 ◐ partial fra✔ nyc✖ (lab) 99.95 % 12 ms"
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in ran.out


def test_addresses_are_written_so_that_they_can_be_read_and_rows_that_look_the_same_are_told_apart(
    tmp_path: Path,
) -> None:
    told = [
        _server("2620:fe::fe:123", family="IPv6"),
        _server("a.example.net", "turn", transport="tcp", over="tcp"),
        _server("a.example.net", "turn", transport="tcp", over="tls"),
        _server("b.example.net", "turn", transport="tcp", over="tls"),
        _server("c.example.net", name="mine"),
        _server("c.example.net", name="yours"),
    ]
    rows = [
        line.split(" 0.857")[0].split(maxsplit=1)[1]
        for line in _ran(tmp_path, told=told, width=120).out.splitlines()
        if "0.857" in line
    ]
    assert [each.strip() for each in rows] == [
        *("c.example.net:123 (mine)", "c.example.net:123 (yours)", "[2620:fe::fe:123]:123"),
        *("a.example.net:123 (tcp)", "a.example.net:123 (tls)", "b.example.net:123"),
    ]


def test_one_of_which_nothing_is_recorded_is_new_not_bad(tmp_path: Path) -> None:
    lines = _ran(tmp_path).out.splitlines()
    stun = lines[lines.index("STUN · IPv4 · UDP") + 2]
    assert " ".join(stun.split()).startswith("1 new.example.net:123 new ✔ up")


def test_a_narrow_terminal_has_no_room_for_dogdorm(tmp_path: Path) -> None:
    lines = _ran(tmp_path).out.splitlines()
    ntp = lines[lines.index("NTP · IPv4 · UDP") + 2 :]
    assert " ".join(ntp[0].split()) == "1 a.example.net:123 0.857 ✔ up fra✔ nyc✔ (lab) 99.95 % 12 ms"
    assert "DOGDORM" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_csv_has_a_line_for_each(tmp_path: Path) -> None:
    first, *_ = csv.DictReader(io.StringIO(_ran(tmp_path, "--csv").out))
    assert (first["host"], first["score"], first["dogdorm"], first["state"], first["vantages"]) == (
        *("a.example.net", "0.857100", "0.498000", "up"),
        "fra=pass nyc=pass",
    )


def test_no_cell_of_csv_does_anything_to_a_terminal_or_a_spreadsheet(tmp_path: Path) -> None:
    node = {"node": "@SUM(1)|calc", "vote": "pass", "counts": True}
    told = [_server("x\x1b[31m\r\n", address="=cmd|' /C calc'!A0", vantages=[node], state="+1")]
    (line,) = csv.DictReader(io.StringIO(out := _ran(tmp_path, "--csv", told=told).out))
    assert "\x1b" not in out
    assert line["host"] == "x\ufffd[31m\ufffd\ufffd"
    for key in ("address", "vantages", "state"):
        assert line[key].startswith("'"), key


def test_json_is_what_the_node_answers(tmp_path: Path) -> None:
    assert json.loads(_ran(tmp_path, "--json").out)["servers"] == _TOLD


def test_what_is_asked_for_reaches_the_node(tmp_path: Path) -> None:
    ran = _ran(tmp_path, "--type", "ntp", "--family", "6", "--limit", "3", query="type=ntp&family=6&limit=3", told=[])
    assert (ran.code, ran.out) == (0, "")
    assert "[[server_list]]" in ran.err


@pytest.mark.parametrize("format_", ["text", "csv", "json"])
def test_a_format_has_its_name_and_its_short_form(format_: str, tmp_path: Path) -> None:
    long = _ran(tmp_path / "long", "--format", format_).out
    short = [f"--{format_}"] if format_ != "text" else []
    assert long == _ran(tmp_path / "short", *short).out
    assert long == _ran(tmp_path / "both", "--format", format_, *short).out


def test_p2pds_settings_are_of_the_servers_that_are_up(tmp_path: Path) -> None:
    ran = _ran(tmp_path, "--format", "p2pd")
    assert ran.code == 0
    assert "{'host': 'a.example.net', 'port': 123, IP4: '192.0.2.7', IP6: None}" in ran.out
    assert "b.example.net" not in ran.out
    assert "\x1b" not in ran.out


def test_an_older_node_tells_no_dogdorm(tmp_path: Path) -> None:
    told = [{key: value for key, value in _TOLD[0].items() if key not in ("dogdorm", "over", "other_address")}]
    assert "a.example.net:123  0.857" in _ran(tmp_path / "text", told=told, width=120).out
    lines = _ran(tmp_path / "csv", "--csv", told=told).out.splitlines()
    assert lines[1].startswith("ntp,IPv4,udp,a.example.net,123,,192.0.2.7,,up")
    assert "NTP_SERVERS = []" in _ran(tmp_path / "p2pd", "--format", "p2pd", told=told).out


@pytest.mark.parametrize(
    "arguments",
    [("--type", "gopher"), ("--limit", "0"), ("--format", "xml"), ("--csv", "--json"), ("--format", "p2pd", "--csv")],
)
def test_what_there_is_not_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert demesh(tmp_path, "servers", *arguments).code == 2


def test_what_is_parked_is_left_out_of_the_lists_and_counted(tmp_path: Path) -> None:
    ran = _ran(tmp_path, told=[*_TOLD, _server("old.example.net", state="parked")])
    assert "old.example.net" not in ran.out
    assert "1 server that never answered is left out; `demesh servers parked` lists them." in ran.err
