"""The events about sinks as the protocol lays them out, and what of them is kept."""

import pytest

from demesh import limits
from demesh.alerts.ladder import _weight, lease_ms
from demesh.alerts.sink import Sink
from demesh.errors import EntryError
from demesh.log.entry import Kind
from demesh.log.event import Event
from demesh.log.telling import Step, Telling, read_telling
from demesh.view.freshness import LogClock
from demesh.view.tellings import LogTellings, gather
from tests.log.builders import MESH, Pen

_SINK = Sink("https://hooks.example.net/a", "hook").digest(MESH)
_OPEN = Telling("DemeshCheckDown", "web", "web", _SINK, Step(1), "firing", 1_700_000_000_000, None, (("check", "web"),))


def _leased(number: int, turn: int = 1) -> Telling:
    return Telling("DemeshCheckDown", "web", "web", _SINK, Step(turn), "firing", 5, number)


def test_events_are_laid_out_as_the_protocol_says() -> None:
    said = {"name": "DemeshCheckDown", "about": "web", "sink": _SINK.hex(), "turn": "1", "state": "firing"}
    assert _OPEN.event() == Event("notified", "web", {**said, "onset": "1700000000000", "label.check": "web"})
    assert _leased(2).event() == Event("notifying", "web", {**said, "onset": "5", "lease": "2"})


def test_digest_order_and_leases_are_those_that_all_members_compute() -> None:
    assert _SINK.hex() == "c0a2636f912a9c623238741f8b8c0f02"
    assert _weight(("DemeshCheckDown", "web", _SINK), bytes(32)).hex() == "a1b9280bcd26b0dfa0b305fa5d6058c2"
    assert [lease_ms(number) for number in (0, 1, 2, 3, 4, 99)] == [60_000, 120_000, 240_000, 480_000, 900_000, 900_000]


@pytest.mark.parametrize(
    "changed",
    [
        {"sink": "00"},
        {"sink": "zz"},
        {"turn": "0"},
        {"turn": "-1"},
        {"turn": "9" * 17},
        {"onset": ""},
        {"reminder": "x"},
    ],
)
def test_what_is_not_of_that_shape_is_refused(changed: dict[str, str]) -> None:
    event = _OPEN.event()
    with pytest.raises(EntryError):
        read_telling(Event(event.type, event.subject, {**event.details, **changed}))


def test_other_events_say_nothing_of_sinks() -> None:
    assert read_telling(Event("warning", "retention", {"text": "full"})) is None


def test_labels_that_do_not_fit_an_event_are_left_out() -> None:
    for labels in (
        tuple((f"l{n}", "x") for n in range(21)),
        (("long", "x" * 1_025),),
        tuple((f"l{n}", "x" * 999) for n in range(9)),
    ):
        event = Telling("A", "web", "web", _SINK, Step(1), "firing", 5, None, labels).event()
        assert not [key for key in event.details if key.startswith("label.")]


def _written(pen: Pen, tellings: LogTellings, *said: Telling) -> None:
    if not pen.entries:
        pen.hello()
    for each in said:
        entry = pen.write(Kind.EVENT, each.event().payload())
        tellings.add(entry, each.event())


def test_what_was_told_last_is_the_greatest_step_of_all_logs_in_any_order() -> None:
    ann, ben = (Pen("ann"), LogTellings()), (Pen("ben"), LogTellings())
    over = Telling("DemeshCheckDown", "web", "web", _SINK, Step(2), "resolved", 5)
    _written(*ann, over, _OPEN)
    _written(*ben, _OPEN, _leased(0, turn=3))
    (found,) = gather([(pen.public_key, tellings, LogClock()) for pen, tellings in (ann, ben)]).values()
    assert found.told is not None
    assert (found.told.step, found.told.by) == (Step(2), ann[0].public_key)
    assert found.opened == _OPEN
    assert [(lease.step, lease.holder) for lease in found.leases] == [(Step(3), ben[0].public_key)]


def test_a_lease_counts_on_the_observers_clock_and_one_from_before_it_listened_has_no_time() -> None:
    pen, tellings, clock = Pen("ann"), LogTellings(), LogClock()
    _written(pen, tellings, _leased(0))
    (found,) = gather([(pen.public_key, tellings, clock)]).values()
    assert found.leases[0].at_ms is None
    entry = pen.results()
    clock.observe(entry.boot8, entry.up_ms, 777_000, first_hand=True)
    (found,) = gather([(pen.public_key, tellings, clock)]).values()
    assert found.leases[0].at_ms == 776_000


def test_no_more_is_kept_than_a_bound_and_what_is_open_longest() -> None:
    pen, tellings = Pen("ann"), LogTellings()
    _written(pen, tellings, _OPEN)
    for n in range(limits.TELLINGS_PER_LOG_MAX + 20):
        _written(pen, tellings, Telling("DemeshCheckDown", f"c{n}", "c", _SINK, Step(2), "resolved", 5))
    assert len(tellings.told) == limits.TELLINGS_PER_LOG_MAX
    assert ("DemeshCheckDown", "web", _SINK) in tellings.told
