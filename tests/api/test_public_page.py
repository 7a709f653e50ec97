"""The page for strangers: what it says, and that it is one document which loads nothing."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from demesh import limits
from demesh.api.public_page import CONTENT_SECURITY_POLICY, Scene, page
from demesh.view.presence import Presence
from demesh.view.public import Shown
from demesh.view.ranking import Seen, Server
from demesh.view.score import Score
from demesh.view.servers import place_of
from demesh.view.uptime import Uptime
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote
from tests.view.build import WALL_MS, row

_VOID = {"meta", "br"}
_UPTIME = {"24h": Uptime(0.99999, 1.0), "7d": Uptime(1.0, 0.5), "30d": Uptime(None, 0.0)}
_WEB = Shown("web", "", Verdict.UP, WALL_MS, 2, 3, _UPTIME)


def _server(name: str, score: float = 0.5, **changed: Any) -> Server:
    place = place_of(row(name, type="stun", target=f"stun://{name}"), None)
    assert place is not None
    seen = (Seen("1", Vote.PASS, True), Seen("2", Vote.FAIL, True), Seen("3", Vote.PASS, False))
    return replace(Server(place, name, Verdict.UP, Score(score, 1.0, 0.5, 1.0), 1, 0, seen), **changed)


def _page(*checks: Shown, servers: tuple[Server, ...] = (), **changed: Any) -> str:
    scene = Scene(WALL_MS, checks, servers, WALL_MS - 60_000, {Presence.ALIVE: 3, Presence.SILENT: 1})
    return page(replace(scene, **changed)).decode()


class _Outline(HTMLParser):
    """Fails on what is not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_it_says_how_checks_and_servers_are_as_of_when_and_who_looks() -> None:
    down = replace(_WEB, name="api", verdict=Verdict.DOWN)
    told = _Outline(_page(_WEB, down, servers=(_server("a.example.net"),)))
    said = "".join(told.said)
    assert "2 checks: 1 down, 1 up. 1 public server: 1 up." in said
    assert "As of 2023-11-14 22:13 UTC. 3 nodes look, 1 silent." in said
    assert told.said.index("api") < told.said.index("web"), "the worst first"
    assert "2 of 3" in told.said
    assert [each for each in told.said if each.endswith("%")] == ["99.99 %", "≈ 100.00 %"] * 2 + ["100.00 %"]
    assert "≈: less than nine tenths" in said
    assert "Ranked at 2023-11-14 22:12 UTC" in said
    assert told.said[-7:-1] == ["a.example.net:3478", "up", "1 of 2", "0.500", "100.00 %", "–"]


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = _page(_WEB, servers=(_server("a.example.net"),))
    told = _Outline(text)
    assert told.tags & {"script", "link", "img", "iframe", "form", "object", "base"} == set()
    assert not [name for name, _ in told.attributes if name.startswith("on") or name in ("src", "style")]
    assert {value for name, value in told.attributes if name == "href"} == {"api/v1/servers", "servers"}
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "url(" not in style
    assert "@import" not in style


def test_what_others_say_is_text() -> None:
    evil = '"><script>alert(1)</script><a href=x onmouseover=y>\u202e'
    told = _Outline(_page(replace(_WEB, name=evil, target=evil), servers=(_server("b.example.net"),), doubts=[evil]))
    assert "script" not in told.tags
    assert sum(evil[:-1] in each for each in told.said) == 3
    assert "\u202e" not in "".join(told.said)


def test_without_anything_it_says_that_there_is_nothing() -> None:
    assert "There is nothing here that is meant for everybody." in _page()


def test_a_long_ranking_is_cut_at_its_best() -> None:
    many = limits.PUBLIC_PAGE_SERVERS_MAX + 5
    told = _Outline(_page(servers=tuple(_server(f"s{n}.example.net", 1 - n / 1_000) for n in range(many))))
    assert f"STUN over UDP, IPv4: the best 50 of {many}" in told.said
    assert "s0.example.net:3478" in told.said
    assert f"s{many - 1}.example.net:3478" not in told.said


def test_doubts_are_told_first() -> None:
    said = "".join(_Outline(_page(_WEB, doubts=["This node seems to have no network."])).said)
    assert said.index("no network") < said.index("Checks")
