"""`demesh silence`, `ack`, `maintenance` and `alerts`: what they ask a node for, and what they show."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.cli.answering import node_answering
from tests.cli.harness import Ran, demesh

_SAID = {"id": "2a849590-17", "by": "ann", "node": "nas", "comment": "deploy\x1b[31m"}
_SILENCE = {**_SAID, "matchers": ["check=api"], "starts_at": None, "ends_at": "2999-01-01T00:00:00Z", "active": True}
_WEEKLY = {
    **_SAID,
    "by": "",
    "comment": "",
    "name": "weekly",
    "when": "Sun 02:00-04:00 Europe/Berlin",
    "starts_at": None,
    "ends_at": None,
    "matchers": [],
    "checks": ["web"],
    "nodes": [],
    "configured": True,
    "active": False,
}
_NOW = {**_WEEKLY, **_SAID, "name": "disk", "when": None, "checks": [], "configured": False, "active": True}


def _incident(name: str, subject: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "subject": subject,
        "state": "open",
        "since": "2026-01-01T00:00:00Z",
        "labels": {"alertname": name, "team": "web"},
        "annotations": {"summary": f"{subject} is down: 2 of 3 vantages agree"},
        "muted": None,
        "acknowledged": None,
        **more,
    }


_ALERTS = {
    "incidents": [
        _incident("DemeshCheckDown", "api"),
        _incident("DemeshCheckDown", "web", acknowledged={**_SAID, "at": "2026-01-01T00:00:00Z"}),
        _incident("DemeshCheckDown", "db", muted={"kind": "depends_on", "by": "router", "until": None, "comment": ""}),
        _incident(
            "DemeshNodeSilent",
            "nas",
            muted={"kind": "silence", "by": "ann", "until": "2999-01-01T00:00:00Z", "comment": "disk"},
        ),
    ],
    "closed": [{**_incident("DemeshCheckDown", "blog"), "closed_at": "2026-01-01T00:00:00Z"}],
    "from_alertmanager": [
        {
            "fingerprint": "ff",
            "since": "2026-01-01T00:00:00Z",
            "told_at": None,
            "labels": {"alertname": "DiskFull", "a": "b"},
        }
    ],
    "alert_paths": [
        {
            "node": "nas",
            "receiver": "demesh",
            "to": ["vps"],
            "came_back_at": "2026-01-01T00:00:00Z",
            "works": True,
            "stopped": False,
        }
    ],
}


class _Asked:
    """A node's answers, and what it was sent."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sent: list[tuple[str, str, Any]] = []

    def run(self, home: Path, *arguments: str) -> Ran:
        import http.client

        request = http.client.HTTPConnection.request

        def noted(connection: Any, method: str, path: str, body: Any = None, **rest: Any) -> None:
            self.sent.append((method, path, json.loads(body) if body else None))
            request(connection, method, path, body, **rest)

        class Answers(dict[str, Any]):
            def get(self, key: str, default: Any = None) -> Any:
                return outer.answer

        outer = self
        with node_answering(home, Answers()), patch.object(http.client.HTTPConnection, "request", noted):
            return demesh(home, *arguments)


def test_a_silence_is_asked_for_as_it_was_written(tmp_path: Path) -> None:
    node = _Asked({"status": "silenced"})
    ran = node.run(tmp_path, "silence", "add", 'check="api"', "team!~x|y", "2h", "-m", "deploy", "--by", "ann")
    assert (ran.code, ran.out) == (0, "Silenced for 2h, on all nodes: check=api, team!~x|y.\n")
    wish = {"matchers": ["check=api", "team!~x|y"], "duration_ms": 7_200_000, "comment": "deploy", "by": "ann"}
    assert node.sent == [("POST", "/api/v1/silences", wish)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("silence", "add", "check=api"), "For how long comes last"),
        (("silence", "add", "api", "2h"), "is no matcher"),
        (("silence", "add", "a=~(", "2h"), "not a regular expression"),
        (("silence", "add"), "Missing argument"),
        (("maintenance", "start", "2h"), "What is maintained?"),
        (("maintenance", "start", "nas", "2h"), "is no matcher"),
    ],
)
def test_what_was_typed_wrong_is_said_and_nothing_is_asked(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    node = _Asked({})
    ran = node.run(tmp_path, *arguments)
    assert (ran.code, ran.out, node.sent) == (2, "", [])
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_silences_are_listed_and_control_no_terminal(tmp_path: Path) -> None:
    ran = _Asked([_SILENCE]).run(tmp_path / "1", "silence", "list")
    (header, line) = ran.out.splitlines()
    assert header.split() == ["ID", "ENDS", "IN", "WHAT", "BY", "COMMENT"]
    assert line.startswith("2a849590-17  ")
    assert "check=api" in line
    assert "ann on nas" in line
    assert "\x1b" not in line
    assert json.loads(_Asked([_SILENCE]).run(tmp_path / "2", "silence", "list", "--json").out) == [_SILENCE]
    none = _Asked([]).run(tmp_path / "3", "silence", "list")
    assert (none.code, none.out, none.err) == (0, "", "Nothing is silenced.\n")


def test_ending_names_what_ends(tmp_path: Path) -> None:
    for number, command in enumerate(("silence", "maintenance")):
        path = {"silence": "silences"}.get(command, command)
        node = _Asked({"status": "ended"})
        assert node.run(tmp_path / str(number), command, "end", "2a-1").code == 0
        assert node.sent == [("POST", f"/api/v1/{path}/end?id=2a-1", None)]


def test_what_is_acknowledged_is_said(tmp_path: Path) -> None:
    node = _Asked({"incidents": ["DemeshCheckDown api"]})
    ran = node.run(tmp_path / "1", "ack", "api", "-m", "on it", "--by", "")
    assert ran.out == "Acknowledged, on all nodes: DemeshCheckDown api\n"
    wish = {"incident": "api", "comment": "on it", "by": ""}
    assert node.sent == [("POST", "/api/v1/acknowledgements", wish)]
    undone = _Asked({"incidents": ["DemeshCheckDown api"]})
    assert undone.run(tmp_path / "2", "ack", "--undo", "DemeshCheckDown/api").out.startswith(
        "Not acknowledged any more"
    )
    assert undone.sent == [("POST", "/api/v1/acknowledgements/end?incident=DemeshCheckDown%2Fapi", None)]


def test_maintenance_begins_and_is_listed(tmp_path: Path) -> None:
    node = _Asked({"status": "begun"})
    ran = node.run(tmp_path / "1", "maintenance", "start", "node=nas", "1h", "-m", "new disk", "--by", "ann")
    assert ran.out == "Maintenance for 1h, on all nodes: node=nas.\n"
    wish = {
        "matchers": ["node=nas"],
        "duration_ms": 3_600_000,
        "name": "maintenance",
        "comment": "new disk",
        "by": "ann",
    }
    assert node.sent == [("POST", "/api/v1/maintenance", wish)]
    every = _Asked({"status": "begun"})
    assert every.run(tmp_path / "2", "maintenance", "start", "all", "1h").out.endswith("everything.\n")
    assert every.sent[0][2]["matchers"] == []
    lines = (
        _Asked([_WEEKLY, {**_NOW, "ends_at": "2999-01-01T00:00:00Z"}]).run(tmp_path / "3", "maintenance", "list").out
    )
    _, weekly, now = lines.splitlines()
    assert "configuration of nas" in weekly
    assert "check=web" in weekly
    assert "for " in now
    assert "everything" in now


def test_alerts_say_who_agrees_and_why_nobody_was_told(tmp_path: Path) -> None:
    ran = _Asked(_ALERTS).run(tmp_path / "1", "alerts")
    assert ran.code == 0
    for said in (
        "! DemeshCheckDown api, since ",
        "api is down: 2 of 3 vantages agree",
        "team=web",
        "acknowledged by ann on nas, ",
        "depends on router",
        "silenced by ann, for ",
        "from Alertmanager\n! DiskFull  a=b, since ",
        "✔ DemeshCheckDown blog, ",
        "alerts of nas: works, its watchdog came back to vps ",
    ):
        assert said in ran.out, said
    assert "\x1b" not in ran.out
    assert json.loads(_Asked(_ALERTS).run(tmp_path / "2", "alerts", "--json").out) == _ALERTS
    nothing: dict[str, list[Any]] = {key: [] for key in _ALERTS}
    assert _Asked(nothing).run(tmp_path / "3", "alerts").out == "Nothing is wrong.\n"
