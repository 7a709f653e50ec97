"""What people decide, as events: written, read, bounded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError, UsageError
from demesh.log.codec import encode
from demesh.log.decision import (
    Acknowledgement,
    End,
    Maintenance,
    Silence,
    acknowledgement_event,
    end_event,
    maintenance_event,
    read_decision,
    silence_event,
)
from demesh.log.event import Event, read_event, warning
from demesh.log.matcher import Matcher, parse_matcher
from demesh.log.notice import (
    ForeignAlert,
    PathAlive,
    PathEnd,
    alert_notice,
    bounded_labels,
    path_end_notice,
    path_notice,
    read_notice,
)
from tests.log.builders import generated

_WEB = Matcher("check", "=", "web")
_SILENCE = Silence((_WEB, Matcher("severity", "!~", "info|x=y")), 1_000, 61_000, "deploy", "ann")
_ONCE = Maintenance("disk", "", 1_000, 61_000, nodes=("nas", "vps 1"), comment="new disk", by="ann")
_WEEKLY = Maintenance("weekly", "Sun 02:00-04:00 Europe/Berlin", checks=("web", "api"), configured=True)
_ACK = Acknowledgement("DemeshCheckDown", "web", 5_000, "on it", "ann")
_LOG = bytes(range(16))


@pytest.mark.parametrize(
    ("event", "decision"),
    [
        (silence_event(_SILENCE), _SILENCE),
        (maintenance_event(_ONCE), _ONCE),
        (maintenance_event(_WEEKLY), _WEEKLY),
        (maintenance_event(replace(_WEEKLY, matchers=(_WEB,))), replace(_WEEKLY, matchers=(_WEB,))),
        (acknowledgement_event(_ACK), _ACK),
        *((end_event(each, (_LOG, 17)), End((_LOG, 17))) for each in (_SILENCE, _ONCE, _ACK)),
        (warning("a", "b"), None),
        (Event("of a later version"), None),
    ],
)
def test_what_is_written_is_read(event: Event, decision: object) -> None:
    assert read_decision(read_event(event.payload())) == decision


@pytest.mark.parametrize(
    "event",
    [
        Event("silence", "", {"starts_ms": "1", "ends_ms": "2"}),
        Event("silence", "", {"matcher1": "web", "starts_ms": "1", "ends_ms": "2"}),
        Event("silence", "", {"matcher1": "a=b", "starts_ms": "1"}),
        Event("silence", "", {"matcher1": "a=b", "starts_ms": "1", "ends_ms": "²"}),
        Event("silence", "", {"matcher1": "a=b", "starts_ms": "1", "ends_ms": "9" * 16}),
        Event("silence", "", {"matcher1": f"a={'b' * 256}", "starts_ms": "1", "ends_ms": "2"}),
        Event("acknowledgement", "a", {"key": "b"}),
        Event("acknowledgement", "a", {"key": "b", "onset_ms": "1", "comment": "c" * 513}),
        Event("maintenance", "a", {"starts_ms": "1"}),
        Event("unsilence", "17"),
        Event("unsilence", f"{_LOG.hex()}-"),
    ],
)
def test_what_is_none_of_them_is_refused(event: Event) -> None:
    with pytest.raises(EntryError) as refused:
        read_decision(event)
    assert refused.value.reason == "shape"


@pytest.mark.parametrize(
    "silence",
    [
        replace(_SILENCE, comment="x" * (limits.DECISION_COMMENT_CHARS_MAX + 1)),
        replace(_SILENCE, by="x" * (limits.NAME_CHARS_MAX + 1)),
        replace(_SILENCE, matchers=(_WEB,) * (limits.MATCHERS_MAX + 1)),
        replace(_SILENCE, matchers=(Matcher("a", "=", "\U0001f600" * 253),) * limits.MATCHERS_MAX),
    ],
)
def test_what_is_too_much_for_an_entry_is_refused_in_a_sentence(silence: Silence) -> None:
    with pytest.raises(UsageError, match=r"\.$"):
        silence_event(silence)


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="too much"):
        maintenance_event(replace(_WEEKLY, checks=tuple(f"check {number:058}" for number in range(17))))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("check=api", "check=api"),
        (' check = "a \\"b\\" c" ', 'check=a "b" c'),
        ("node!=nas", "node!=nas"),
        ('severity=~"warning|info"', "severity=~warning|info"),
        ("team!~x.*", "team!~x.*"),
        ("a=", "a="),
        ("a==b", "a==b"),
    ],
)
def test_matchers_are_written_as_in_alertmanager(written: str, text: str) -> None:
    assert parse_matcher(written).text == text


@pytest.mark.parametrize("written", ["api", "=api", "a-b=c", "1a=b", "", f"a={'b' * 300}", "a=~(", 'a=~"["'])
def test_what_is_no_matcher_is_refused_in_a_sentence(written: str) -> None:
    with pytest.raises(UsageError, match=r"\.|team"):
        parse_matcher(written)


@pytest.mark.parametrize(
    ("matcher", "value", "matches"),
    [
        ("a=x", "x", True),
        ("a=x", "xx", False),
        ("a!=x", "xx", True),
        ("a!=x", None, True),
        ("a=", None, True),
        ("a=~x|y", "y", True),
        ("a=~x|y", "xy", False),
        ("a=~x.*", "xy\n", False),
        ("a!~x|y", "z", True),
        ("a!~x|y", "x", False),
        ("a=~.*", None, True),
        ("a=~.+", None, False),
    ],
)
def test_a_matcher_matches_as_in_alertmanager(matcher: str, value: str | None, *, matches: bool) -> None:
    assert parse_matcher(matcher).matches({} if value is None else {"a": value}) == matches


def test_an_expression_that_takes_for_ever_or_is_none_matches_nothing_either_way_round() -> None:
    slow, none = "(a|b|ab)*(?=c)d?", "("
    assert Matcher("a", "!~", slow).matches({"a": "x"})
    for value in ("ab" * 40, "x"):
        assert not Matcher("a", "=~", slow).matches({"a": value})
        assert not Matcher("a", "!~", slow).matches({"a": value}), "it is given up for good"
        assert not Matcher("a", "!~", none).matches({"a": value})


_ALERT = ForeignAlert(
    "0123456789abcdef", resolved=False, starts_ms=1_000, labels=(("alertname", "Disk"), ("host", "nas"))
)


@pytest.mark.parametrize(
    ("event", "notice"),
    [
        (alert_notice(_ALERT), _ALERT),
        (alert_notice(replace(_ALERT, resolved=True)), replace(_ALERT, resolved=True)),
        (path_notice(PathAlive("hook", ("nas", "vps"))), PathAlive("hook", ("nas", "vps"))),
        (path_end_notice(PathEnd("nas", (_LOG, 9))), PathEnd("nas", (_LOG, 9))),
        (Event("of a later version"), None),
    ],
)
def test_news_that_is_written_is_read(event: Event, notice: object) -> None:
    assert read_notice(read_event(event.payload())) == notice


@generated
@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=60))
def test_whatever_labels_an_alert_has_its_notice_fits_an_entry_and_is_read(labels: dict[str, str]) -> None:
    labels = {"alertname": "Disk", **{name * 9: value * 99 for name, value in labels.items()}}
    event = alert_notice(replace(_ALERT, labels=tuple(sorted(labels.items()))))
    assert len(encode(event.payload())) < limits.ENTRY_BYTES_MAX - 2_000
    read = read_notice(read_event(event.payload()))
    assert isinstance(read, ForeignAlert)
    assert dict(read.labels)["alertname"] == labels["alertname"][: limits.NOTICE_LABEL_CHARS_MAX]
    assert len(bounded_labels(read.labels)) <= limits.NOTICE_LABELS_MAX
