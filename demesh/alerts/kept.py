"""The open incidents as bytes: what a restart of this node shall not forget. A note in its own store, not the wire's.

[[name, key, subject, onset_ms, labels, annotations, about, notify, told], …]     labels, annotations: keys and values in turn

`told` is 0 if it was muted ever since it opened, so that nobody was told of it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from demesh import limits
from demesh.alerts.incident import Incident, Key, Labels
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode, values

NOTE = "incidents"
"""What the note in the store is called."""

_TEXTS_MAX = 2 * limits.CHECKS_MAX


@dataclass(frozen=True, slots=True)
class Kept:
    """The incidents, and which of them nobody was told of."""

    incidents: tuple[Incident, ...] = ()
    untold: frozenset[Key] = frozenset()


def encode_incidents(incidents: Iterable[Incident], untold: Collection[Key] = ()) -> bytes:
    return encode([_row(each, told=(each.name, each.key) not in untold) for each in incidents])


def decode_incidents(data: bytes) -> Kept:
    """What can be read of it: a note that is damaged is as good as none."""
    try:
        rows = Fields([decode(data)], "the note").array("incidents", limits.INCIDENTS_KEPT_MAX)
        found = [_read(Fields(row, "an incident")) for row in rows]
    except EntryError:
        return Kept()
    untold = frozenset((each.name, each.key) for each, told in found if not told)
    return Kept(tuple(each for each, _ in found), untold)


def _row(each: Incident, *, told: bool) -> Value:
    return [
        each.name,
        each.key,
        each.subject,
        each.onset_ms,
        _flat(each.labels),
        _flat(each.annotations),
        values(each.about),
        int(each.notify),
        int(told),
    ]


def _read(fields: Fields) -> tuple[Incident, bool]:
    incident = Incident(
        name=fields.text("name"),
        key=fields.text("key"),
        subject=fields.text("subject"),
        onset_ms=fields.uint("onset", limits.TIME_MS_MAX),
        labels=_pairs(fields.texts("labels", _TEXTS_MAX, limits.NOTE_TEXT_CHARS_MAX)),
        annotations=_pairs(fields.texts("annotations", _TEXTS_MAX, limits.NOTE_TEXT_CHARS_MAX)),
        about=fields.texts("about", _TEXTS_MAX),
        notify=bool(fields.uint("notify", 1)),
    )
    return incident, not fields.more or bool(fields.uint("told", 1))


def _flat(pairs: Labels) -> Value:
    return [text[: limits.NOTE_TEXT_CHARS_MAX] for pair in pairs for text in pair]


def _pairs(texts: tuple[str, ...]) -> Labels:
    return tuple(zip(texts[::2], texts[1::2], strict=False))
