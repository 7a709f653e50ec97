"""Badges are pictures that any page may show, whatever a check is called."""

from typing import Any
from xml.etree import ElementTree

import pytest

from demesh.api.badge import badge
from demesh.view.verdict import Verdict
from tests.api.asking import Node, ask

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_badge_names_the_check_and_says_its_state_in_words_and_colour(verdict: Verdict) -> None:
    drawn = ElementTree.fromstring(badge("web", verdict))
    assert [each.text for each in drawn.iter(f"{_SVG}text")] == ["web", str(verdict)]
    assert drawn.attrib["aria-label"] == f"web: {verdict}"
    others = [badge("web", each) for each in Verdict if each != verdict]
    colour = [each.attrib["fill"] for each in drawn.iter(f"{_SVG}path")]
    alike = {Verdict.PARTIAL: 1, Verdict.FLAPPING: 1}
    assert sum(colour[0].encode() in each for each in others) == alike.get(verdict, 0)


@pytest.mark.parametrize("name", ["</svg><script>alert(1)</script>", "\"&'<", "a\x00\x1b[1m\u202eb", "名前", "x" * 64])
def test_no_name_breaks_out_of_it(name: str) -> None:
    drawn = ElementTree.fromstring(badge(name, Verdict.UP))
    assert {each.tag.removeprefix(_SVG) for each in drawn.iter()} == {"svg", "title", "rect", "path", "g", "text"}
    said = next(drawn.iter(f"{_SVG}text")).text or ""
    assert len(said) == len(name)
    assert all(char.isprintable() for char in said)


def test_it_is_as_wide_as_its_text() -> None:
    widths = [
        int(ElementTree.fromstring(badge(name, Verdict.UP)).attrib["width"]) for name in ("ab", "abcd", "名前名前")
    ]
    assert widths == sorted(set(widths))


@pytest.mark.trio
async def test_the_nodes_own_api_has_one_of_each_check_for_who_may_read(autojump_clock: Any) -> None:
    node = Node()
    drawn = await ask("/badge/web.svg", node=node)
    assert (drawn.status, drawn.headers["content-type"]) == (200, "image/svg+xml")
    assert drawn.headers["cache-control"] == "max-age=10"
    assert b">up<" in drawn.body
    assert (await ask("/badge/nothing.svg", node=node)).status == 404
    stranger: Any = ("192.0.2.7", 50_000)
    assert (await ask("/badge/web.svg", node=node, client=stranger)).status == 401
