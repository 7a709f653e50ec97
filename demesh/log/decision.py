"""What people decide about alerts, as events: silences, maintenance, acknowledgements, and the end of each.

    silence          subject: empty; `matcher1` … are what must match of an incident's labels (`demesh.log.matcher`), `starts_ms`
                     and `ends_ms` Unix time
    maintenance      subject: its name; `matcher1` …, or `checks` and `nodes`: names, separated by commas; without any it is of
                     everything. Either `when` (`demesh.config.when`), or `starts_ms` and `ends_ms`. `configured` is `1` if it
                     stands in its author's configuration
    acknowledgement  subject: the incident's name; `key` is what it is about, `onset_ms` when it began
    unsilence, maintenance_end, unacknowledge
                     subject: which one ends

All of the first three may have a `comment` and `by`, who said so. A decision has no number of its own: it is named by
its place, the log and the sequence number of its entry, which nobody else can use. What ended does not come back, so
the order in which events of different logs arrive changes nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError, UsageError
from demesh.log.codec import encode
from demesh.log.event import Event
from demesh.log.matcher import Matcher, read_matcher

SILENCE, UNSILENCE = "silence", "unsilence"
MAINTENANCE, MAINTENANCE_END = "maintenance", "maintenance_end"
ACKNOWLEDGEMENT, UNACKNOWLEDGE = "acknowledgement", "unacknowledge"
ENDS = (UNSILENCE, MAINTENANCE_END, UNACKNOWLEDGE)

Place = tuple[bytes, int]
"""A log, and the sequence number of an entry in it."""


@dataclass(frozen=True, slots=True)
class Silence:
    matchers: tuple[Matcher, ...]
    starts_ms: int
    ends_ms: int
    comment: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`when` is empty for what begins and ends once."""

    name: str
    when: str = ""
    starts_ms: int = 0
    ends_ms: int = 0
    matchers: tuple[Matcher, ...] = ()
    checks: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    configured: bool = False
    comment: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    name: str
    key: str
    onset_ms: int
    comment: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The decision at `place` is over."""

    place: Place


Decision = Silence | Maintenance | Acknowledgement


def silence_event(silence: Silence) -> Event:
    """Raises UsageError if it is too large."""
    times = {"starts_ms": str(silence.starts_ms), "ends_ms": str(silence.ends_ms)}
    return _bounded(Event(SILENCE, "", {**_matchers(silence.matchers), **times, **_said(silence.comment, silence.by)}))


def maintenance_event(maintenance: Maintenance) -> Event:
    """Raises UsageError if it is too large."""
    each = maintenance
    details = {
        **_matchers(each.matchers),
        "checks": ",".join(each.checks),
        "nodes": ",".join(each.nodes),
        "when": each.when,
        "starts_ms": "" if each.when else str(each.starts_ms),
        "ends_ms": "" if each.when else str(each.ends_ms),
        "configured": "1" if each.configured else "",
        **_said(each.comment, each.by),
    }
    return _bounded(Event(MAINTENANCE, each.name, {key: value for key, value in details.items() if value}))


def acknowledgement_event(said: Acknowledgement) -> Event:
    """Raises UsageError if it is too large."""
    details = {"key": said.key, "onset_ms": str(said.onset_ms), **_said(said.comment, said.by)}
    return _bounded(Event(ACKNOWLEDGEMENT, said.name, details))


def end_event(decision: Decision, place: Place) -> Event:
    ends = {Silence: UNSILENCE, Maintenance: MAINTENANCE_END, Acknowledgement: UNACKNOWLEDGE}
    return Event(ends[type(decision)], place_text(place))


def place_text(place: Place) -> str:
    return f"{place[0].hex()}-{place[1]}"


def read_decision(event: Event) -> Decision | End | None:
    """What an event decides; None for an event of another type. Raises EntryError("shape")."""
    if event.type in ENDS:
        return End(read_place(event.subject))
    if event.type not in (SILENCE, MAINTENANCE, ACKNOWLEDGEMENT):
        return None
    details = event.details
    comment, by = details.get("comment", ""), details.get("by", "")
    if len(comment) > limits.DECISION_COMMENT_CHARS_MAX or len(by) > limits.NAME_CHARS_MAX:
        raise EntryError("shape", "the decision: its comment, or who said so, is too long")
    if event.type == ACKNOWLEDGEMENT:
        return Acknowledgement(event.subject, details.get("key", ""), _ms(details, "onset_ms"), comment, by)
    matchers = _read_matchers(details)
    if event.type == SILENCE:
        if not matchers:
            raise EntryError("shape", "the silence: it has no matchers")
        return Silence(matchers, _ms(details, "starts_ms"), _ms(details, "ends_ms"), comment, by)
    when = details.get("when", "")
    starts_ms, ends_ms = (0, 0) if when else (_ms(details, "starts_ms"), _ms(details, "ends_ms"))
    names = {key: tuple(filter(None, details.get(key, "").split(","))) for key in ("checks", "nodes")}
    configured = details.get("configured") == "1"
    return Maintenance(
        event.subject, when, starts_ms, ends_ms, matchers, **names, configured=configured, comment=comment, by=by
    )


def read_place(text: str) -> Place:
    """Raises EntryError("shape")."""
    found = re.fullmatch(r"([0-9a-f]{32})-([0-9]{1,16})", text, re.ASCII)
    if not found:
        raise EntryError("shape", "the end of a decision: it does not say of which")
    return bytes.fromhex(found[1]), int(found[2])


def _said(comment: str, by: str) -> dict[str, str]:
    return {key: value for key, value in (("comment", comment), ("by", by)) if value}


def _matchers(matchers: tuple[Matcher, ...]) -> dict[str, str]:
    if len(matchers) > limits.MATCHERS_MAX:
        raise UsageError(f"At most {limits.MATCHERS_MAX} matchers are possible.")
    return {f"matcher{number}": each.text for number, each in enumerate(matchers, 1)}


def _read_matchers(details: Mapping[str, str]) -> tuple[Matcher, ...]:
    texts = [details[key] for number in range(1, limits.MATCHERS_MAX + 1) if (key := f"matcher{number}") in details]
    found = [read_matcher(text) for text in texts]
    if None in found:
        raise EntryError("shape", "the decision: what should be a matcher is none")
    return tuple(each for each in found if each is not None)


def _ms(details: Mapping[str, str], key: str) -> int:
    text = details.get(key, "")
    if not re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) or int(text) > limits.TIME_MS_MAX:
        raise EntryError("shape", f"the decision: {key} is no time")
    return int(text)


def _bounded(event: Event) -> Event:
    """`event`, whose texts are short enough for readers. Raises UsageError."""
    if len(event.details.get("comment", "")) > limits.DECISION_COMMENT_CHARS_MAX:
        raise UsageError(f"A comment has at most {limits.DECISION_COMMENT_CHARS_MAX} characters.")
    if len(event.details.get("by", "")) > limits.NAME_CHARS_MAX:
        raise UsageError(f"Who says so has at most {limits.NAME_CHARS_MAX} characters.")
    texts = [event.subject, *event.details.values()]
    if max(map(len, texts)) > limits.TEXT_CHARS_MAX or len(encode(event.payload())) > limits.DECISION_BYTES_MAX:
        raise UsageError("This is too much for one entry: name fewer or shorter things, or use an expression.")
    return event
