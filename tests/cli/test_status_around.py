"""What stands around the checks on the screen of a status: how fresh it is and whose, the nodes, the alerts and where they go."""

from typing import Any

import pytest

from demesh.cli.status_checks import Room, Wanted
from demesh.cli.status_screen import Asked, screen
from tests.cli.status_answers import Json, answer, check, incident, node, vantage

_ANY, _NOW = Wanted(), Asked()


def _words(document: Json, wanted: Wanted = _ANY, asked: Asked = _NOW, fits: int = 80) -> str:
    lines = ["".join(text for text, _ in line) for line in screen(document, wanted, asked, Room(fits))]
    return " ".join(" ".join(lines).split())


def test_the_header_counts_the_worst_first_and_tells_how_old_the_view_is() -> None:
    checks = [check("a", "up", vantage("nas", at="2026-03-01T11:59:58Z")), check("b", "down"), check("c", "up")]
    document = answer(checks=checks, nodes=[node("nas"), node("vps", "silent")])
    counted = "mesh 0a1b2c3d · 2 nodes (1 silent, 1 alive) · 3 checks: 1 down, 2 up"
    assert _words(document).startswith(f"{counted} · view 2s old · asked: nas")
    late = Asked(12_000, "The node at the socket does not answer: refused.")
    assert _words(document, asked=late).startswith(
        f"{counted} · view 14s old · asked: nas … no answer for 12s ! The node at the socket does not answer: refused."
    )


def test_without_checks_it_says_how_to_add_some() -> None:
    assert "No checks yet." in _words(answer())


def test_while_settling_it_says_so() -> None:
    assert "still settling" in _words(answer(settled=False))
    assert "settling" not in _words(answer())


def test_while_history_is_being_folded_it_says_that_uptime_is_not_complete() -> None:
    folding = answer(history={"behind": 12_345, "complete": False})
    assert "asked: nas · uptime not complete yet, 12345 entries to go" in _words(folding)
    assert "uptime" not in _words(answer(history={"behind": 12, "complete": True}))


def test_while_logs_are_being_got_it_says_whose_and_how_far() -> None:
    lacks = [{"node": "fra", "log": "ab", "entries": 120_000}, {"node": None, "log": "cd", "entries": 1}]
    said = _words(answer(logs={"behind": 120_001, "complete": False, "lacks": lacks}))
    assert "asked: nas · logs not complete yet, 120001 entries to go" in said
    assert "! nas still catches up; it is behind on fra by 120000 entries, a new log by 1 entry." in said
    many = [{**lacks[0], "node": f"n{number}"} for number in range(12)]
    said = _words(answer(logs={"behind": 1, "complete": False, "lacks": many}))
    assert "n7 by 120000 entries, and 4 more." in said
    left_off = _words(answer(logs={"behind": 0, "complete": False, "lacks": []}))
    assert "asked: nas · logs not complete yet" in left_off
    complete = _words(answer(logs={"behind": 1, "complete": True, "lacks": [lacks[1]]}))
    assert "not complete" not in complete
    assert "catches up" not in complete


def test_a_node_without_its_network_says_so_and_why() -> None:
    network = {"running": False, "rebuilds": 2, "failed_at": "2026-03-01T11:59:00Z", "problem": "The port is taken."}
    down = _words(answer(network={**network, "down_since": "2026-03-01T11:30:00Z"}))
    assert "! nas has no network for 30m, so what is said of other nodes is of then: The port is taken." in down
    assert "no network" not in _words(answer(network={**network, "running": True, "down_since": None}))


@pytest.mark.parametrize("fits", [40, 80, 200])
def test_what_a_node_warns_of_is_told_whole(fits: int) -> None:
    text = "The store takes 2000000001 bytes of at most 2000000000: what is oldest is forgotten early."
    warned = [{"at": "2026-03-01T10:00:00Z", "subject": "retention", "text": text}]
    assert f"! nas, 2h ago: {text}" in _words(answer(nodes=[node("nas", warnings=warned), node("vps")]), fits=fits)


def test_a_node_that_is_not_alive_stands_first_with_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demesh.cli.status_screen._clock_time", lambda text, _now: text[11:16])
    away = node("laptop", "away", back_by="2026-03-01T14:05:00Z", bye="suspend", seen_at="2026-03-01T09:00:00Z")
    nodes = [node("fra"), away, node("lab", "suspect"), node("nyc", "silent"), node("new", "of a later version")]
    assert _words(answer(nodes=nodes)).endswith(
        "nodes new ? of a later version 3m nyc ✖ silent 3m lab ? suspect 3m "
        "laptop ☾ away 3h, back by 14:05 (suspend) fra ✔ alive"
    )


def test_many_that_are_alive_are_counted() -> None:
    nodes = [*(node(f"n{number:02}") for number in range(40)), node("nyc", "silent")]
    said = _words(answer(nodes=nodes))
    assert "nyc ✖ silent" in said
    assert "n11 ✔ alive and 28 more alive" in said
    assert "n39 ✔ alive" in _words(answer(nodes=nodes), Wanted(everything=True))


def test_where_a_target_was_found_is_told_of_a_check_that_is_asked_about() -> None:
    found = (
        vantage("nas", address="192.0.2.7"),
        vantage("vps", address="192.0.2.9"),
        vantage("lab", address="192.0.2.7"),
    )
    document = answer(checks=[check("blog", "up", *found)])
    assert "asked at 192.0.2.7 (nas, lab); 192.0.2.9 (vps)" in _words(document, Wanted(names=("blog",)))
    assert "192.0.2.7" not in _words(document)
    by_address = check("dot", "up", vantage("nas", address="192.0.2.7"), target="tcp://192.0.2.7:853")
    assert "asked at" not in _words(answer(checks=[by_address]), Wanted(everything=True))


def test_incidents_tell_since_when_and_that_somebody_knows() -> None:
    incidents = [
        incident("shop"),
        incident("api", muted=True),
        incident("vps", "DemeshNodeSilent", acknowledged={"by": "ann"}),
        incident("web", muted=None, acknowledged="looking"),
    ]
    said = _words(answer(incidents=incidents))
    assert (
        "alerts 4 open ! DemeshCheckDown shop, since 2h ! DemeshCheckDown api, since 2h, muted "
        "! DemeshNodeSilent vps, since 2h, acknowledged by ann ! DemeshCheckDown web, since 2h, acknowledged (looking)"
    ) in said


def test_many_incidents_are_counted() -> None:
    document = answer(incidents=[incident(f"web{number:02}") for number in range(40)])
    assert "web07, since 2h and 32 more (demesh status --all shows them)" in _words(document)
    assert "web39" in _words(document, Wanted(everything=True))


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"ok": True, "last_ok_at": "2026-03-01T11:59:52Z"}, "→ http://am:9093 ✔ 8s ago"),
        ({"ok": None}, "→ http://am:9093 · nothing to send yet"),
        ({"ok": False, "problem": "refused."}, "→ http://am:9093 ✖ none got through: refused."),
        (
            {"ok": False, "problem": "refused.", "last_ok_at": "2026-03-01T11:57:00Z"},
            "→ http://am:9093 ✖ the last got through 3m ago: refused.",
        ),
    ],
)
def test_where_alerts_go_and_whether_they_get_there_is_told(sink: dict[str, Any], said: str) -> None:
    document = answer(sinks=[{"name": "http://am:9093", "last_ok_at": None, "problem": None, **sink}])
    assert f"alerts none open {said}" in _words(document)


def test_when_nobody_is_told_of_an_incident_it_says_so() -> None:
    assert "→ nobody is told" in _words(answer(incidents=[incident("shop")], sinks=[]))
    assert "nobody" not in _words(answer(sinks=[])), "there is nothing to tell"
    assert "→" not in _words(answer(incidents=[incident("shop")])), "an older node does not say"
