from pathlib import Path

import pytest

from demesh import limits
from demesh.log.entry import Entry, Kind
from demesh.log.event import warning
from demesh.log.plan import PlanPart
from demesh.log.replay import startup_entries
from demesh.log.store import Store
from tests.log.builders import MESH, Pen, put


def _at_start(entries: list[Entry]) -> list[int]:
    """The sequence numbers of what a start reads of this log."""
    with Store(Path(":memory:"), mesh_id=MESH) as store:
        put(store, entries)
        (state,) = store.logs()
        return [entry.seq for part in startup_entries(store, state) for entry in part]


def test_short_log_is_read_whole() -> None:
    assert _at_start(Pen("ann").fill(20)) == list(range(20))


def test_long_log_is_read_from_its_hello_and_plan_and_then_its_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STARTUP_TAIL_ENTRIES_MAX", 5)
    pen = Pen("ann")
    pen.fill(3)
    pen.hello()
    for part in range(3):
        pen.write(Kind.PLAN, PlanPart(part, 3, ()).payload())
    pen.fill(20)
    assert _at_start(pen.entries) == [3, 4, 5, 6, 15, 16, 17, 18, 19]


@pytest.mark.parametrize(
    ("kind", "bound"), [(Kind.EVENT, "EVENTS_AT_START_MAX"), (Kind.NOTICE, "NOTICES_AT_START_MAX")]
)
def test_the_newest_events_and_notices_are_read_too(kind: Kind, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STARTUP_TAIL_ENTRIES_MAX", 5)
    monkeypatch.setattr(limits, bound, 2)
    pen = Pen("ann")
    pen.hello()
    for _ in range(3):
        pen.write(kind, warning("retention", "full").payload())
    pen.fill(20)
    assert _at_start(pen.entries) == [0, 2, 3, 15, 16, 17, 18, 19]


def test_plan_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STARTUP_TAIL_ENTRIES_MAX", 5)
    pen = Pen("ann")
    pen.hello()
    pen.write(Kind.PLAN, ["no plan"])
    pen.fill(20)
    assert _at_start(pen.entries) == [0, 15, 16, 17, 18, 19]
