"""`demesh status`: the facts on one screen, and an exit code as Nagios takes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from demesh.cli.status import exit_code
from demesh.log.store import Store
from tests.cli.answering import node_answering, url_answering
from tests.cli.harness import Ran, demesh
from tests.cli.status_answers import FULL, answer, check, node, vantage
from tests.view.build import FAIL, MemberLog, row

_PATH = "/api/v1/status"


def _shown(tmp_path: Path, document: Any, *options: str, **environment: str) -> Ran:
    with url_answering({_PATH: document}) as url:
        return demesh(tmp_path / "home", "status", "--node", url, *options, **environment)


def test_the_screen_is_printed_and_the_exit_code_is_the_worst_there_is(tmp_path: Path) -> None:
    ran = _shown(tmp_path, FULL)
    assert ran.code == 2
    lines = ran.out.splitlines()
    assert lines[0] == "mesh 0a1b2c3d · 2 nodes (1 silent, 1 alive) · 3 checks: 1 down, 2 up · view 3m old · asked: nas"
    assert any(line.startswith("✖ shop") for line in lines)
    assert "\x1b" not in ran.out, "a pipe gets no colours"


def test_control_characters_of_others_do_not_reach_the_terminal(tmp_path: Path) -> None:
    warned = [{"at": None, "subject": "retention", "text": "full\x1b[2J"}]
    shop = check("sh\x1b[2Jop", "down", vantage("nas", "fail", detail="\x07refused"))
    ran = _shown(tmp_path, answer(checks=[shop], nodes=[node("nas", warnings=warned)]))
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    assert "sh\ufffd[2Jop" in ran.out


def test_names_choose_checks_and_what_the_exit_code_is_about(tmp_path: Path) -> None:
    ran = _shown(tmp_path, FULL, "bl*", "old")
    assert ran.code == 0, "neither shop, nor the node that is silent"
    assert "blog" in ran.out
    assert "✖ shop" not in ran.out
    assert "1 down" in ran.out, "but the header tells of all"
    assert [each["name"] for each in json.loads(_shown(tmp_path, FULL, "bl*", "--json").out)["checks"]] == ["blog"]


def test_names_that_no_check_has_are_an_unknown_and_said(tmp_path: Path) -> None:
    ran = _shown(tmp_path, FULL, "nothing*")
    assert (ran.code, ran.out) == (3, "")
    assert "No check is named like nothing*;" in ran.err


def test_down_alone_shows_what_is_not_up_and_exits_the_same(tmp_path: Path) -> None:
    ran = _shown(tmp_path, FULL, "--down")
    assert ran.code == 2
    assert "✖ shop" in ran.out
    assert "blog" not in ran.out
    assert [each["name"] for each in json.loads(_shown(tmp_path, FULL, "--down", "--json").out)["checks"]] == ["shop"]


def test_json_is_the_answer_itself(tmp_path: Path) -> None:
    ran = _shown(tmp_path, FULL, "--json")
    assert json.loads(ran.out) == FULL
    assert ran.code == 2


def test_the_node_of_the_data_directory_is_asked_over_its_socket(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with node_answering(home, {_PATH: answer()}):
        ran = demesh(home, "status", "--json")
        assert demesh(tmp_path / "other", "status", "--data-dir", str(home), "--json") == ran
    assert json.loads(ran.out) == answer()
    assert ran.code == 0


@pytest.mark.parametrize(
    ("states", "presences", "code"),
    [
        ([], ["alive"], 0),
        (["up", "up"], ["alive"], 0),
        (["up", "paused"], ["alive"], 0),
        (["up", "partial"], ["alive"], 1),
        (["up", "late"], ["alive"], 1),
        (["up", "flapping"], ["alive"], 1),
        (["up", "silent"], ["alive"], 1),
        (["up"], ["alive", "silent"], 1),
        (["up"], ["suspect", "away", "left"], 0),
        (["up", "down"], ["alive"], 2),
        (["partial", "down", "unknown"], ["silent"], 2),
        (["unknown"], ["alive"], 3),
        (["unknown", "up"], ["alive"], 3),
        (["unknown", "partial"], ["alive"], 1),
        (["unknown"], ["silent"], 1),
        (["of a later version"], ["alive"], 3),
    ],
)
def test_the_exit_code_is_the_worst_there_is(states: list[str], presences: list[str], code: int) -> None:
    document = answer(checks=[check("web", each) for each in states], nodes=[node("n", each) for each in presences])
    assert exit_code(document) == code


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
