"""Why a member is present or not: its own logs held against its own promises, and what others wrote of it. Pure.

A member that was not heard of may have been down, or cut off: entries dated into the time in which others missed it say that it
was writing all the while. Where there are none, nothing was written, whatever kept it from that.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from demesh.log.bye import LEFT
from demesh.log.event import Event
from demesh.view.concern import WITNESSED, Concern
from demesh.view.presence import Presence
from demesh.view.story import Began, Fact, Greeted, Heard, Missing, Planned, Ran, Repeated, Stood, Told

SILENT = "DemeshNodeSilent"


@dataclass(frozen=True, slots=True)
class NodeStep:
    """`presence` where it changed. `was_writing` of an event by which another told of it: whether it wrote at that time."""

    fact: Fact
    presence: Presence | None = None
    was_writing: bool | None = None


@dataclass(frozen=True, slots=True)
class NodeTrace:
    """`last` is the newest fact of the member's own that its presence at the end follows from."""

    opening: Presence | None
    steps: tuple[NodeStep, ...]
    closing: Presence | None
    last: Fact | None


def trace_node(public_key: bytes, facts: Iterable[Fact], concern: Concern, since_ms: int, until_ms: int) -> NodeTrace:
    """`facts` are those of the member's logs, and the events of all others."""
    presence: Presence | None = None
    opening: Presence | None = None
    opened = False
    log = b""
    last: Fact | None = None
    steps: list[NodeStep] = []
    for fact in sorted(facts, key=lambda fact: fact.place):
        if fact.wall_ms > until_ms:
            break
        if not opened and fact.wall_ms >= since_ms:
            opening, opened = presence, True
        own, before = fact.public_key == public_key, presence
        if isinstance(fact.said, Told):
            if not (own or concern.has(fact.said.event)):
                continue
        elif isinstance(fact.said, Began):
            presence, last, is_other = Presence.ALIVE, fact, log not in (b"", fact.log)
            log = fact.log
            if not (is_other or fact.said.of_log):
                continue
        elif fact.log != log or isinstance(fact.said, Ran):
            continue
        elif isinstance(fact.said, Stood):
            is_gone = fact.said.bye is not None and fact.said.bye.reason == LEFT
            presence, last = Presence.LEFT if is_gone else fact.said.presence, fact
        elif isinstance(fact.said, Heard | Repeated | Greeted | Planned | Missing):
            presence, last = Presence.ALIVE, fact
        witnessed = isinstance(fact.said, Told) and not own and _is_missed(fact.said.event)
        if fact.wall_ms >= since_ms:
            was_writing = presence == Presence.ALIVE if witnessed else None
            steps.append(NodeStep(fact, presence if presence != before else None, was_writing))
    return NodeTrace(opening if opened else presence, tuple(steps), presence, last)


def _is_missed(event: Event) -> bool:
    """Whether somebody is told that a member is not heard of."""
    is_over = event.details.get("state") in ("resolved", "closed")
    return event.type in WITNESSED and event.details.get("name", SILENT) == SILENT and not is_over
