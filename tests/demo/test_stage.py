"""The stage believes only what nodes say, within a time: what they do not say, or a ring too many, ends the story."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from demesh.demo.phone import Alert, Call, Phone
from demesh.demo.receiver import Receiver
from demesh.demo.sight import Sight
from demesh.demo.stage import Stage, Unexpected
from demesh.demo.story import Act, Ends, Kill, Quiet, Rings, See, Start
from tests.demo.narrating import Told

_SILENT = See("lab is silent", Sight(nodes=(("lab", "silent"),)), 20)


class _Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.running = False
        self.gave_up = False
        self.ending = "with 1"
        self.log = f"{name}.log"

    def start(self) -> None:
        self.running = True

    def kill(self) -> None:
        self.running = False

    def last_words(self) -> str:
        return "the end of its log"


class _World:
    """Virtual time, a phone, and nodes that say what `says` makes of (their name, the time in seconds)."""

    def __init__(self, says: Callable[[str, float], str] = lambda _node, _at: "alive") -> None:
        self.ms = 0
        self.phone = Phone()
        self.posts: dict[int, list[Alert]] = {}
        self.nodes = {name: _Node(name) for name in ("fra", "lab")}
        self.told = Told()
        self._says = says
        world = cast(Any, self)
        self.stage = Stage(cast(Any, self.nodes), {}, cast(Receiver, self), self.told, world, self._ask, self._rest)

    def monotonic_ms(self) -> int:
        return self.ms

    def calls(self) -> list[Call]:
        taken = [self.posts.pop(at) for at in sorted(self.posts) if at <= self.ms]
        calls = [call for alerts in taken for call in self.phone.take(alerts, self.ms)]
        return [*calls, *self.phone.tick(self.ms)]

    def _rest(self, seconds: float) -> None:
        self.ms += round(seconds * 1_000)

    def _ask(self, node: Any) -> dict[str, Any]:
        presence = self._says(node.name, self.ms / 1_000)
        return {"settled": True, "checks": [], "nodes": [{"name": "lab", "presence": presence}], "incidents": []}


def _silent(ends_ms: int = 120_000) -> Alert:
    return Alert((("alertname", "DemeshNodeSilent"), ("node", "lab"), ("severity", "critical")), "", ends_ms)


def test_an_act_ends_when_the_nodes_say_what_it_tells_and_the_phone_has_rung_and_been_cleared() -> None:
    world = _World(lambda _node, at: "silent" if at > 5 else "suspect")
    world.posts = {6_000: [_silent()], 9_000: [_silent(9_000)]}
    act = Act("x", (Start("fra"), _SILENT, Rings("DemeshNodeSilent lab"), Ends("DemeshNodeSilent lab")))
    seconds = world.stage.play(act, "1")
    assert 11 <= seconds < 13
    assert world.told.happenings == ["lab is silent"]
    assert len(world.told.calls) == 2
    assert "fra: lab is suspect" in world.told.waited


def test_what_nodes_do_not_say_in_time_ends_the_story_and_is_told() -> None:
    world = _World()
    with pytest.raises(Unexpected, match=r"Not within 20 s: lab is silent\. Instead: fra: lab is alive"):
        world.stage.play(Act("x", (Start("fra"), _SILENT)), "1")
    assert world.told.happenings == []


def test_all_nodes_that_run_are_asked() -> None:
    world = _World(lambda node, _at: "silent" if node == "fra" else "alive")
    with pytest.raises(Unexpected, match="Instead: lab: lab is alive"):
        world.stage.play(Act("x", (Start("fra"), Start("lab"), _SILENT)), "1")
    world.stage.play(Act("x", (Kill("lab"), _SILENT)), "2")


def test_a_node_that_ends_by_itself_is_told_with_its_last_words() -> None:
    world = _World()
    world.nodes["lab"].gave_up = True
    with pytest.raises(Unexpected, match=r"lab ended by itself, with 1\. The end of lab.log:\nthe end of its log"):
        world.stage.play(Act("x", (Start("fra"), _SILENT)), "1")


def test_a_phone_that_does_not_ring_ends_the_story() -> None:
    world = _World()
    with pytest.raises(Unexpected, match="Not within 20 s: the phone rings for DemeshNodeSilent lab"):
        world.stage.play(Act("x", (Rings("DemeshNodeSilent lab"),)), "1")


def test_a_ring_that_was_not_to_be_ends_the_story() -> None:
    quiet = _World()
    assert quiet.stage.play(Act("x", (Quiet(3),)), "1") >= 3
    world = _World()
    world.posts = {1_000: [_silent()]}
    with pytest.raises(Unexpected, match="The phone rang for DemeshNodeSilent lab"):
        world.stage.play(Act("x", (Quiet(3),)), "1")
    world = _World(lambda _node, at: "silent" if at > 5 else "suspect")
    world.posts = {1_000: [_silent()]}
    with pytest.raises(Unexpected, match="The phone rang for DemeshNodeSilent lab; expected: nothing"):
        world.stage.play(Act("x", (Start("fra"), _SILENT)), "1")


def test_rings_of_an_earlier_act_do_not_count() -> None:
    world = _World()
    world.posts = {1_000: [_silent()], 3_000: [_silent(3_000)]}
    act = Act("x", (Rings("DemeshNodeSilent lab"), Ends("DemeshNodeSilent lab")))
    world.stage.play(act, "1")
    with pytest.raises(Unexpected, match="Not within 20 s: the phone rings"):
        world.stage.play(act, "2")
