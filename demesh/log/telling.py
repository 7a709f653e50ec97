"""The events `notifying` and `notified`: that a node is about to tell a sink of an incident, and that it has. Pure.

    subject: what the incident is (its key); details, all texts:
    name         the incident's name, such as DemeshCheckDown
    about        what its subject is called
    sink         the digest of the sink, hex
    turn         which change of the sink's mind this is: odd for "it is open", even for "it is over"
    reminder     which reminder since, if it is one
    state        firing, resolved, reminder, or closed (over, without a word to the sink): for people, turn says it too
    onset        since when, wall ms
    lease        only in `notifying`: how many such leases there were for this step; each lasts longer than the one before
    label.NAME   only where something opens: the labels, for whoever has to say that it is over and never saw it open

Turns only grow, so what a sink was told last is the greatest step that any log has: no clock and no order of arrival decides
it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from demesh import limits
from demesh.errors import EntryError
from demesh.log.event import Event

NOTIFYING = "notifying"
NOTIFIED = "notified"
_LABEL = "label."
_TURN_MAX = 2**40
_LABELS_BYTES_MAX = 8_192


class Step(NamedTuple):
    """What is told: the turn, and which reminder of it."""

    turn: int
    reminder: int = 0

    @property
    def opens(self) -> bool:
        return self.turn % 2 == 1


@dataclass(frozen=True, slots=True)
class Telling:
    """`lease` is None for what was told, else the number of the lease under which it is to be told."""

    name: str
    key: str
    about: str
    sink: bytes
    step: Step
    state: str
    onset_ms: int
    lease: int | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def event(self) -> Event:
        details = {
            "name": self.name,
            "about": self.about[: limits.TEXT_CHARS_MAX],
            "sink": self.sink.hex(),
            "turn": str(self.step.turn),
            "state": self.state,
            "onset": str(self.onset_ms),
        }
        if self.step.reminder:
            details["reminder"] = str(self.step.reminder)
        if self.lease is not None:
            details["lease"] = str(self.lease)
        elif self.step.opens and not self.step.reminder and _fit(self.labels):
            details |= {f"{_LABEL}{name}": value for name, value in self.labels}
        return Event(NOTIFIED if self.lease is None else NOTIFYING, self.key, details)


def read_telling(event: Event) -> Telling | None:
    """What an event says of a sink; None for an event of another type. Raises EntryError("shape")."""
    if event.type not in (NOTIFYING, NOTIFIED):
        return None
    said = event.details
    try:
        sink = bytes.fromhex(said["sink"])
        step = Step(_number(said["turn"], 1), _number(said.get("reminder", "0")))
        lease = _number(said["lease"]) if event.type == NOTIFYING else None
        name, onset_ms = said["name"], _number(said["onset"], most=limits.TIME_MS_MAX)
    except (KeyError, ValueError):
        raise EntryError("shape", f"the event {event.type}: its details are not as they should be") from None
    if len(sink) != 16:
        raise EntryError("shape", f"the event {event.type}: the digest of a sink has 16 bytes")
    labels = tuple((key.removeprefix(_LABEL), text) for key, text in said.items() if key.startswith(_LABEL))
    about, state = said.get("about", event.subject), said.get("state", "")
    return Telling(name, event.subject, about, sink, step, state, onset_ms, lease, labels)


def _number(text: str, least: int = 0, most: int = _TURN_MAX) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise ValueError
    number = int(text)
    if not least <= number <= most:
        raise ValueError
    return number


def _fit(labels: tuple[tuple[str, str], ...]) -> bool:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels)
    return (
        len(labels) <= limits.TELLING_LABELS_MAX
        and size <= _LABELS_BYTES_MAX
        and all(len(text) <= limits.TEXT_CHARS_MAX for _, text in labels)
    )
