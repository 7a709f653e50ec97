"""What members warn of: the newest of each log, and which of them are still news. Pure.

A warning is dated by its author's wall clock, as a result is; whether a node may warn again is measured in the time since its own
boot, so that no wall clock makes it silent or talkative.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from demesh import limits
from demesh.log.entry import Entry
from demesh.log.event import read_event, warning_text

SHOWN_MS = 86_400_000
AGAIN_MS = 3_600_000
"""A node warns no more often than this of one subject."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning: where it stands in its log, and when it was written on its author's clocks."""

    seq: int
    subject: str
    text: str
    wall_ms: int
    boot8: bytes
    up_ms: int


def fold_warning(known: list[Warned], entry: Entry) -> None:
    """Add what an entry of the kind `event` warns of, if it does and is not there yet. Raises EntryError."""
    event = read_event(entry.payload)
    text = warning_text(event)
    if text is not None and all(each.seq != entry.seq for each in known):
        known.append(Warned(entry.seq, event.subject, text, entry.wall_ms, entry.boot8, entry.up_ms))
        known.sort(key=lambda each: each.seq)  # what was kept of a shortened log may come after what follows it
        del known[: -limits.WARNINGS_PER_LOG_MAX]


def may_warn(known: Iterable[Warned], subject: str, boot8: bytes, up_ms: int) -> bool:
    """Whether a node whose own log has these may warn of `subject` now."""
    return all(each.subject != subject or each.boot8 != boot8 or up_ms - each.up_ms >= AGAIN_MS for each in known)


def newest(known: Iterable[Warned], wall_ms: int) -> list[Warned]:
    """Those of the day around `wall_ms`, the newest first."""
    recent = [each for each in known if abs(wall_ms - each.wall_ms) < SHOWN_MS]
    return sorted(recent, key=lambda each: each.wall_ms, reverse=True)[: limits.WARNINGS_PER_LOG_MAX]
