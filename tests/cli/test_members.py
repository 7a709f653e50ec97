"""`demesh members`: what it shows, in which width, and what it asks a node for."""

import json
from pathlib import Path
from typing import Any

import pytest

from demesh.log.bye import LEFT, Bye
from demesh.log.entry import Kind
from demesh.log.store import Store
from tests.cli.answering import node_answering, url_answering
from tests.cli.harness import Ran, demesh
from tests.view.build import MemberLog, row

_ID = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust"


def _member(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "peer_id": _ID,
        "self": False,
        "presence": "alive",
        "seen_at": "2026-01-01T00:00:00Z",
        "connected": True,
        "address": "192.0.2.7:8471",
        "rtt_ms": 12.3,
        "clock_skew_ms": 20,
        "log": "ab" * 16,
        "head_seq": 4_711,
        "lag_entries": 0,
        "version": "0.1.0",
        "tags": ["eu"],
        "addresses": ["/ip4/192.0.2.7/tcp/8471"],
        **changed,
    }


_MEMBERS = [
    _member("nas", self=True, connected=False, address=None, rtt_ms=None, clock_skew_ms=None),
    _member("vps", clock_skew_ms=-90_000, lag_entries=17),
    _member("laptop", presence="away", connected=False, rtt_ms=None, clock_skew_ms=None),
    _member("old\x1b[31mnas", presence="left", connected=False),
]


def _shown(home: Path, *arguments: str, width: int = 200) -> Ran:
    with node_answering(home, {"/api/v1/members": _MEMBERS}):
        return demesh(home, "members", *arguments, COLUMNS=str(width))


def test_members_are_shown_with_what_is_odd_about_them(tmp_path: Path) -> None:
    ran = _shown(tmp_path)
    assert ran.code == 0
    header, nas, vps, laptop = ran.out.splitlines()
    assert " ".join(header.split()) == "MEMBER PRESENCE SEEN ADDRESS RTT SKEW HEAD LAG VERSION TAGS PEER ID"
    assert nas.startswith("nas (this node)")
    assert "✔ alive" in vps
    assert " 12 ms " in vps
    assert "−1m30s" in vps.replace(" ", "") or "−90s" in vps
    assert " 17 " in vps
    assert "192.0.2.7:8471" in vps
    assert "☾ away" in laptop
    assert "(not connected) 192.0.2.7:8471" in laptop
    assert ran.err == "1 member has left; --all shows them.\n"


def test_who_has_left_is_shown_on_demand_only_and_controls_no_terminal(tmp_path: Path) -> None:
    everyone = _shown(tmp_path / "1", "--all")
    assert "– left" in everyone.out
    assert "\x1b[31m" not in everyone.out
    assert everyone.err == ""
    told = json.loads(_shown(tmp_path / "2", "--json").out)
    assert told == _MEMBERS[:3]
    assert len(json.loads(_shown(tmp_path / "3", "--all", "--json").out)) == 4


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_breaks_no_line_of_what_matters(width: int, tmp_path: Path) -> None:
    ran = _shown(tmp_path, width=width)
    lines = ran.out.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "PEER ID" not in lines[0]
    for shown in ("nas (this node)", "✔ alive", "☾ away", "12 ms"):
        assert shown in ran.out


def test_forgetting_asks_the_node_and_says_so(tmp_path: Path) -> None:
    with node_answering(tmp_path, {"/api/v1/members/forget?member=old%20nas~ab": {"status": "forgotten"}}):
        ran = demesh(tmp_path, "members", "forget", "old nas~ab")
    assert (ran.code, ran.out) == (0, "Forgot old nas~ab; the other nodes learn of it.\n")


def test_what_the_node_says_against_it_is_told(tmp_path: Path) -> None:
    with url_answering({"/api/v1/members/forget?member=vps": {"error": "vps is alive."}}, status=409) as url:
        ran = demesh(tmp_path, "members", "forget", "vps", "--node", url)
    assert (ran.code, ran.out) == (2, "")
    assert "vps is alive." in ran.err


def test_leaving_asks_the_node(tmp_path: Path) -> None:
    with node_answering(tmp_path, {"/api/v1/leave": {"status": "leaving"}}):
        ran = demesh(tmp_path, "node", "leave")
    assert (ran.code, ran.out) == (0, "The node leaves the mesh and stops.\n")


def test_without_a_node_the_store_tells_who_there_was_and_who_has_left(tmp_path: Path) -> None:
    ann, ben = MemberLog("ann"), MemberLog("ben")
    with Store(tmp_path / "log.db", mesh_id=bytes(16)) as store:
        for author, entries in (
            (ann, ann.start(0, row())),
            (ben, [*ben.start(0, row()), ben.entry(Kind.BYE, Bye(LEFT, 0).payload(), 1_000)]),
        ):
            store.commit(entries, public_keys={author.log: author.key}, own=False)
    ran = demesh(tmp_path, "members", "--all", "--json")
    assert ran.err.startswith(f"No node is running on {tmp_path}.")
    assert {each["name"]: each["presence"] for each in json.loads(ran.out)} == {"ann": "unknown", "ben": "left"}
