"""What is decided: the same from the same logs, whatever came first."""

import random
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.log.decision import Silence, acknowledgement_event, end_event, maintenance_event, silence_event
from demesh.log.entry import Entry, Kind
from demesh.log.event import Event, warning
from demesh.view.decisions import Decided, Decisions, fold_decision
from tests.log.builders import generated
from tests.log.test_decision import _ACK, _SILENCE, _WEEKLY
from tests.view.build import MemberLog, deliver, new_view

_EVENTS = [silence_event(_SILENCE), maintenance_event(_WEEKLY), acknowledgement_event(_ACK), warning("a", "b")]


def _said(author: MemberLog, *events: Event) -> list[Entry]:
    return [author.entry(Kind.EVENT, event.payload(), 1_000) for event in events]


def _merged(logs: list[tuple[MemberLog, list[Entry]]], chance: random.Random) -> Iterator[tuple[MemberLog, Entry]]:
    """The entries of `logs`, each log in order, mixed by chance."""
    left = [(author, list(entries)) for author, entries in logs if entries]
    while left:
        author, entries = chance.choice(left)
        yield author, entries.pop(0)
        left = [each for each in left if each[1]]


@generated
@given(st.lists(st.lists(st.integers(0, 5), max_size=12), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_same_logs_decide_the_same_in_whatever_order_they_arrive(
    plots: list[list[int]], chance: random.Random
) -> None:
    authors = [MemberLog(f"m{number}") for number in range(len(plots))]
    logs: list[tuple[MemberLog, list[Entry]]] = []
    for author, plot in zip(authors, plots, strict=True):
        entries = author.start(0)
        for step, choice in enumerate(plot):
            other = authors[(choice + step) % len(authors)]
            end = end_event(_SILENCE, (other.log, 2 + choice + step // 2))
            entries += _said(author, _EVENTS[choice] if choice < 4 else end)
        logs.append((author, entries))
    one, other = new_view(), new_view()
    for author, entries in logs:
        deliver(one, author, entries, 0)
    for author, entry in _merged(logs, chance):
        deliver(other, author, entry, 0)
    assert one.decisions() == other.decisions()


def test_an_end_counts_whoever_says_it_and_before_what_it_ends_is_known() -> None:
    ann, ben, view = MemberLog("ann"), MemberLog("ben"), new_view()
    made = [*ann.start(0), *_said(ann, *_EVENTS)]
    deliver(view, ben, [*ben.start(0), *_said(ben, end_event(_SILENCE, (ann.log, made[2].seq)))], 0)
    deliver(view, ann, made, 0)
    found = view.decisions()
    assert found.silences == ()
    assert [each.decision for each in found.maintenance] == [_WEEKLY]
    assert [(each.place, each.author, each.decision) for each in found.acknowledgements] == [
        ((ann.log, made[4].seq), ann.key, _ACK)
    ]


def test_what_is_decided_is_known_at_once_and_ends_at_once() -> None:
    ann, view = MemberLog("ann"), new_view()
    deliver(view, ann, ann.start(0), 0)
    assert view.decisions() == Decisions()
    (entry,) = _said(ann, _EVENTS[0])
    deliver(view, ann, entry, 0)
    assert [each.decision for each in view.decisions().silences] == [_SILENCE]
    deliver(view, ann, _said(ann, end_event(_SILENCE, (ann.log, entry.seq))), 0)
    assert view.decisions() == Decisions()


def test_whom_one_does_not_heed_decides_nothing_and_ends_nothing() -> None:
    ann, ben, view = MemberLog("ann"), MemberLog("ben"), new_view()
    made = [*ann.start(0), *_said(ann, _EVENTS[0])]
    deliver(view, ann, made, 0)
    deliver(view, ben, [*ben.start(0), *_said(ben, _EVENTS[1], end_event(_SILENCE, (ann.log, made[-1].seq)))], 0)
    view.heeds = lambda key: key == ann.key
    assert [len(each) for each in _kinds(view.decisions())] == [1, 0, 0]
    view.heeds = lambda key: key == ben.key
    assert [len(each) for each in _kinds(view.decisions())] == [0, 1, 0]
    view.heeds = lambda key: True
    assert [len(each) for each in _kinds(view.decisions())] == [0, 1, 0]
    view.bars = lambda key: key == ben.key
    assert [len(each) for each in _kinds(view.decisions())] == [1, 0, 0]


def _kinds(decisions: Decisions) -> tuple[tuple[object, ...], ...]:
    return decisions.silences, decisions.maintenance, decisions.acknowledgements


@pytest.mark.parametrize(("decisions", "events"), [(8, 16), (16, 8)])
@generated
@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_of_one_log_the_newest_count_in_whatever_order_they_are_read(
    decisions: int, events: int, length: int, chance: random.Random
) -> None:
    author = MemberLog("ann")
    silences = [Silence(_SILENCE.matchers, number, 10**9) for number in range(length)]
    entries = _said(author, *map(silence_event, silences))
    bounds = {"DECISIONS_PER_LOG_MAX": decisions, "EVENTS_AT_START_MAX": events}
    with patch.dict(vars(limits), bounds):
        in_order, mixed = Decided(), Decided()
        for entry in entries:
            fold_decision(in_order, entry)
        for entry in [*chance.sample(entries, len(entries)), *entries]:
            fold_decision(mixed, entry)
    assert mixed.said == in_order.said
    assert sorted(in_order.said) == [entry.seq for entry in entries][-8:]


def test_what_lies_before_the_events_that_a_start_reads_counts_for_nobody() -> None:
    author, running, started = MemberLog("ann"), Decided(), Decided()
    entries = _said(author, _EVENTS[0], *[warning("a", str(number)) for number in range(16)])
    with patch.object(limits, "EVENTS_AT_START_MAX", 16):
        running, started = Decided(), Decided()
        for entry in entries:
            fold_decision(running, entry)
        for entry in entries[-16:]:
            fold_decision(started, entry)
    assert running.said == started.said == {}


def test_an_event_that_cannot_be_read_is_counted_and_changes_nothing() -> None:
    ann, view = MemberLog("ann"), new_view()
    deliver(view, ann, [*ann.start(0), *_said(ann, Event("silence"))], 0)
    assert (view.skipped, view.decisions()) == (1, Decisions())
