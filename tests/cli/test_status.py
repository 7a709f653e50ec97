"""`demesh status`: the facts on one screen, and an exit code as Nagios takes it."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from demesh.cli.status import exit_code
from demesh.log.store import Store
from tests.cli.answering import node_answering, url_answering
from tests.cli.harness import Ran, demesh
from tests.view.build import FAIL, MemberLog, row

_PATH = "/api/v1/status"


def _vantage(node: str, vote: str = "pass", **changed: Any) -> dict[str, Any]:
    fields = {"assigned": True, "outcome": "pass", "detail": "", "latency_ms": 12.3, "address": None, "at": None}
    return {"node": node, "vote": vote, **fields, **changed}


def _check(name: str, state: str, *vantages: dict[str, Any], **changed: Any) -> dict[str, Any]:
    fields = {"target": f"https://{name}/", "type": "http", "severity": "critical", "interval_ms": 60_000}
    times = {"since": "2026-03-01T10:00:00Z", "certificate_expires_at": None}
    return {"name": name, "state": state, **fields, **times, "vantages": list(vantages), **changed}


def _node(name: str, presence: str = "alive", **changed: Any) -> dict[str, Any]:
    fields = {"peer_id": "12D3KooWx", "seen_at": "2026-03-01T11:57:00Z", "version": "1", "tags": [], "addresses": []}
    return {"name": name, "presence": presence, **fields, **changed}


_FULL = {
    "mesh": "0a1b2c3d",
    "node": "nas",
    "as_of": "2026-03-01T12:00:00Z",
    "settled": True,
    "checks": [
        _check("blog", "up", _vantage("nas"), _vantage("vps"), certificate_expires_at="2026-03-15T12:00:00Z"),
        _check("shop", "down", _vantage("nas", "fail", detail="status 503"), _vantage("vps", "unseen")),
        _check("old", "up", _vantage("nas"), certificate_expires_at="2026-02-01T00:00:00Z"),
    ],
    "nodes": [_node("nas"), _node("vps", "silent")],
    "incidents": [{"name": "DemeshCheckDown", "subject": "shop", "since": "2026-03-01T10:00:00Z", "state": "open"}],
}


def _answer(**changed: Any) -> dict[str, Any]:
    return {**deepcopy(_FULL), "checks": [], "nodes": [_node("nas")], "incidents": [], **changed}


def _shown(tmp_path: Path, answer: Any, *options: str, **environment: str) -> Ran:
    with url_answering({_PATH: answer}) as url:
        return demesh(tmp_path / "home", "status", "--node", url, *options, **environment)


def test_the_screen_holds_the_facts(tmp_path: Path) -> None:
    ran = _shown(tmp_path, _FULL)
    assert ran.code == 2
    lines = ran.out.splitlines()
    assert lines[0] == "mesh 0a1b2c3d · 2 nodes (1 alive, 1 silent) · 3 checks: 1 down, 2 up · asked: nas"
    blog, shop, old = (next(line for line in lines if f" {name} " in line) for name in ("blog", "shop", "old"))
    assert [word for word in blog.split() if word not in "✔✖·"] == [
        "blog",
        "up",
        "nas✔",
        "vps✔",
        "12",
        "ms",
        "2h",
        "14d",
    ]
    assert "down" in shop
    assert "nas✖ vps·" in shop
    assert "  ✖ shop: nas: status 503" in lines
    assert "expired" in old
    assert any("vps ✖ silent 3m" in line for line in lines)
    assert "! DemeshCheckDown shop, since 2h" in lines


def test_json_is_the_answer_itself(tmp_path: Path) -> None:
    ran = _shown(tmp_path, _FULL, "--json")
    assert json.loads(ran.out) == _FULL
    assert ran.code == 2


def test_the_node_of_the_data_directory_is_asked_over_its_socket(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with node_answering(home, {_PATH: _answer()}):
        ran = demesh(home, "status", "--json")
        assert demesh(tmp_path / "other", "status", "--data-dir", str(home), "--json") == ran
    assert json.loads(ran.out) == _answer()
    assert ran.code == 0


def test_without_checks_it_says_how_to_add_some(tmp_path: Path) -> None:
    assert "No checks yet." in _shown(tmp_path, _answer()).out


def test_while_settling_it_says_so(tmp_path: Path) -> None:
    assert "still settling" in _shown(tmp_path, _answer(settled=False)).out
    assert "settling" not in _shown(tmp_path, _answer()).out


def test_while_history_is_being_folded_it_says_that_uptime_is_not_complete(tmp_path: Path) -> None:
    folding = _answer(history={"behind": 12_345, "complete": False})
    assert "asked: nas · uptime not complete yet, 12345 entries to go\n" in _shown(tmp_path, folding).out
    folded = _answer(history={"behind": 12, "complete": True})
    assert "uptime" not in _shown(tmp_path, folded).out


def test_while_logs_are_being_got_it_says_whose_and_how_far(tmp_path: Path) -> None:
    lacks = [{"node": "fra", "log": "ab", "entries": 120_000}, {"node": None, "log": "cd", "entries": 1}]
    behind = _answer(logs={"behind": 120_001, "complete": False, "lacks": lacks})
    said = _shown(tmp_path, behind).out
    assert "asked: nas · logs not complete yet, 120001 entries to go\n" in said
    assert "! nas still catches up; it is behind on fra by 120000 entries, a new log by 1 entry." in said
    many = [{**lacks[0], "node": f"n{number}"} for number in range(12)]
    said = _shown(tmp_path, _answer(logs={"behind": 1, "complete": False, "lacks": many})).out
    assert "n7 by 120000 entries, and 4 more." in said
    left_off = _answer(logs={"behind": 0, "complete": False, "lacks": []})
    assert "asked: nas · logs not complete yet\n" in _shown(tmp_path, left_off).out
    complete = _answer(logs={"behind": 1, "complete": True, "lacks": [lacks[1]]})
    assert "not complete" not in _shown(tmp_path, complete).out
    assert "catches up" not in _shown(tmp_path, complete).out


def test_a_node_without_its_network_says_so_and_why(tmp_path: Path) -> None:
    network = {"running": False, "rebuilds": 2, "failed_at": "2026-03-01T11:59:00Z", "problem": "The port is taken."}
    down = _answer(network={**network, "down_since": "2026-03-01T11:30:00Z"})
    assert (
        "! nas has no network for 30m, so what is said of other nodes is of then: The port is taken."
        in _shown(tmp_path, down).out
    )
    assert "no network" not in _shown(tmp_path, _answer(network={**network, "running": True, "down_since": None})).out


def test_what_a_node_warns_of_is_a_line_whole_however_narrow_the_screen(tmp_path: Path) -> None:
    text = "The store takes 2000000001 bytes of at most 2000000000: what is oldest is forgotten early. \x1b[2J[red]"
    warned = [{"at": "2026-03-01T10:00:00Z", "subject": "retention", "text": text}]
    ran = _shown(tmp_path, _answer(nodes=[_node("nas", warnings=warned), _node("vps")]), COLUMNS="80")
    assert f"! nas, 2h ago: {text}".replace("\x1b", "\ufffd") in ran.out.splitlines()
    assert ran.out.count("! ") == 1
    assert ran.code == 0


def test_a_state_of_a_later_version_is_shown_and_not_fatal(tmp_path: Path) -> None:
    checks = [_check("web", "flapping", _vantage("nas", "abstain"))]
    ran = _shown(tmp_path, _answer(checks=checks, nodes=[_node("nas", "left", seen_at=None)]))
    assert ran.code == 3
    assert "flapping" in ran.out
    assert "left" in ran.out


def test_a_narrow_screen_hides_no_name_of_a_check(tmp_path: Path) -> None:
    name = "www.a-rather-long-name.example.net:8443/health"
    ran = _shown(tmp_path, _answer(checks=[_check(name, "up", _vantage("nas"))]), COLUMNS="80")
    assert name in ran.out


def test_what_failed_stands_on_a_line_of_its_own_whole_however_narrow_the_screen(tmp_path: Path) -> None:
    detail = "status 503, expected 200 to 299; the body does not match the pattern that it should match"
    uptime = {"24h": {"ratio": 0.99624, "coverage": 1.0}, "30d": {"ratio": 0.9999, "coverage": 0.4}}
    shop = _check(
        "shop.example.net",
        "down",
        _vantage("nas", "fail", detail=detail),
        _vantage("vps", "fail", detail=detail),
        _vantage("web", "fail", detail="connection refused"),
        _vantage("old", "unseen", detail="of long ago", assigned=False),
        uptime=uptime,
        certificate_expires_at="2026-04-15T13:00:00Z",
    )
    lines = _shown(
        tmp_path, _answer(checks=[shop, _check("blog", "up", _vantage("nas"))]), COLUMNS="80"
    ).out.splitlines()
    assert f"  ✖ shop.example.net: nas, vps: {detail}; web: connection refused" in lines
    assert sum(line.startswith(("  ✖", "  ✔")) for line in lines) == 1, "what is well has no such line"
    header = next(line for line in lines if line.startswith("CHECK"))
    assert re.split(r" {2,}", header.strip()) == [
        "CHECK",
        "STATE",
        "SEEN BY",
        "LATENCY",
        "24 H",
        "30 D",
        "SINCE",
        "CERT",
    ]
    assert len(header) <= 80


@pytest.mark.parametrize("text", ["[/]", "[bold]x[/bold]", "[link=http://a]b", "[nas]"])
def test_what_others_call_themselves_is_no_markup(text: str, tmp_path: Path) -> None:
    check = _check(text, "down", _vantage(text, "fail", detail=text))
    incident = {"name": "DemeshNodeSilent", "subject": text, "since": None}
    ran = _shown(tmp_path, _answer(checks=[check], nodes=[_node(text)], incidents=[incident]))
    assert ran.out.count(text) >= 4


@pytest.mark.parametrize(
    ("checks", "presences", "code"),
    [
        ([], ["alive"], 0),
        (["up", "up"], ["alive"], 0),
        (["up", "partial"], ["alive"], 1),
        (["up"], ["alive", "silent"], 1),
        (["up"], ["suspect", "away"], 0),
        (["up", "down"], ["alive"], 2),
        (["partial", "down", "unknown"], ["silent"], 2),
        (["unknown"], ["alive"], 3),
        (["unknown", "up"], ["alive"], 3),
        (["unknown", "partial"], ["alive"], 1),
        (["unknown"], ["silent"], 1),
        (["of a later version"], ["alive"], 3),
    ],
)
def test_the_exit_code_is_the_worst_there_is(checks: list[str], presences: list[str], code: int) -> None:
    answer = _answer(checks=[_check("web", state) for state in checks], nodes=[_node("n", each) for each in presences])
    assert exit_code(answer) == code


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8470", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999"]
)
def test_what_is_no_url_is_refused(url: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "status", "--node", url)
    assert ran.code == 2
    assert "is not the URL of a node's API; one looks like http://127.0.0.1:8470." in ran.err


def test_a_node_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with url_answering({}) as url:
        pass
    ran = demesh(tmp_path / "home", "status", "--node", url)
    assert ran.code == 3
    assert ran.err.startswith(f"The node at {url} does not answer: ")


@pytest.mark.parametrize(("answers", "said"), [({}, "HTTP status 404"), ({_PATH: b"<html>"}, "does not answer")])
def test_something_else_that_answers_is_no_node(answers: dict[str, Any], said: str, tmp_path: Path) -> None:
    with url_answering(answers) as url:
        ran = demesh(tmp_path / "home", "status", "--node", url)
    assert ran.code == 3
    assert said in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("document", [{}, [], "up", {"checks": [], "nodes": []}])
def test_something_else_at_the_url_is_said_to_be_no_node(document: object, tmp_path: Path) -> None:
    with url_answering({_PATH: document}) as url:
        ran = demesh(tmp_path, "status", "--node", url)
    assert ran.code == 3
    assert "no demesh node" in ran.err


@pytest.mark.parametrize(
    ("ratio", "coverage", "shown"),
    [
        (1.0, 1.0, "100 %"),
        (0.99999, 1.0, "99.99 %"),
        (0.5, 0.95, "50 %"),
        (0.9, 0.5, "90 % of 12h"),
        (None, 0.0, ""),
    ],
)
def test_uptime_never_rounds_up_and_says_when_little_was_observed(
    tmp_path: Path, ratio: float | None, coverage: float, shown: str
) -> None:
    check = _check("blog", "up", _vantage("nas"), since=None, uptime={"24h": {"ratio": ratio, "coverage": coverage}})
    line = next(line for line in _shown(tmp_path, _answer(checks=[check])).out.splitlines() if "blog" in line)
    assert " ".join(line.split()) == f"✔ blog up nas✔ 12 ms {shown}".strip()


def test_without_a_node_the_store_tells_what_was_last_known(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    author = MemberLog("nas")
    with Store(home / "log.db", mesh_id=bytes(16)) as store:
        entries = [*author.start(0, row("blog")), author.outcomes(1_000, FAIL, FAIL)]
        store.commit(entries, public_keys={author.log: author.key}, own=False)
    ran = demesh(home, "status")
    assert ran.code == 3
    assert "No node is running" in ran.err
    assert "ago" in ran.err
    told = json.loads(demesh(home, "status", "--json").out)
    (check,) = told["checks"]
    assert told["history"] == {"behind": 3, "complete": True}, "nothing was folded"
    assert (check["state"], check["vantages"][0]["outcome"]) == ("unknown", "fail")
    assert "said fail" in ran.out
