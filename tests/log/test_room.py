"""The promises of `demesh.log.room`, as `demesh.log.chain` keeps them: a member's newest epoch is taken, at its own cost only."""

from dataclasses import replace

import pytest

from demesh import limits
from demesh.log.chain import Logs
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from tests.log.builders import MESH, NO_LOG, Pen, damaged, log_of

_MOST = 4


def _epoch(number: int, *, days: int = 0, previous: int | None = None, owner: str = "ann") -> list[Entry]:
    """An epoch that begins after `days`, and names epoch `previous` as the one before."""
    pen = Pen(owner, number)
    pen.clock.now_ms = days * 86_400_000
    before = None if previous is None else (Pen(owner, previous).log, Head(1, bytes(range(32))))
    pen.write(Kind.HELLO, replace(pen.greeting(), previous=before).payload())
    return pen.fill(2)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EPOCHS_PER_KEY_MAX", _MOST)


def _full() -> Logs:
    """A node that holds as many epochs of ann as it may, epoch n of day n, and one log of bob."""
    logs = Logs(MESH, NO_LOG)
    for number in range(1, _MOST + 1):
        logs.offer(_epoch(number, days=number))
    logs.offer(log_of("bob", 2))
    return logs


def _taken(logs: Logs, entries: list[Entry], news_of: bytes | None = None) -> tuple[bool, list[bytes]]:
    taken = logs.offer(entries, news_of)
    return taken.accepted == entries, taken.dropped


_FIRST, _SECOND = Pen("ann", 1).log, Pen("ann", 2).log


@pytest.mark.parametrize(
    ("entries", "news_of"),
    [
        (_epoch(9, days=9), None),
        (_epoch(9, days=0, previous=_MOST), None),
        (_epoch(9, days=0), Pen("ann").public_key),
    ],
    ids=["dated later", "naming one that is held", "told by its own node"],
)
def test_newer_epoch_takes_the_place_of_its_members_oldest(entries: list[Entry], news_of: bytes | None) -> None:
    logs = _full()
    assert _taken(logs, entries, news_of) == (True, [_FIRST])
    assert logs.get(_FIRST) is None
    assert logs.get(log_of("bob", 1)[0].log) is not None
    assert len(logs) == _MOST + 1


def test_epoch_that_is_named_as_the_one_before_stays() -> None:
    assert _taken(_full(), _epoch(9, previous=1)) == (True, [_SECOND])


def test_older_epoch_takes_nobodys_place() -> None:
    logs = _full()
    assert [each.reason for each in logs.offer(_epoch(9)).refusals] == ["too_many_epochs"]
    assert [each.reason for each in logs.offer(_epoch(9), Pen("bob").public_key).refusals] == ["too_many_epochs"]


def test_log_that_gave_way_does_not_come_back() -> None:
    logs = _full()
    logs.offer(_epoch(9, days=9))
    assert [each.reason for each in logs.offer(_epoch(1, days=99, previous=_MOST)).refusals] == ["gone"]
    assert logs.is_gone(_FIRST)


def test_hello_that_its_key_did_not_sign_drives_nothing_out() -> None:
    logs = _full()
    forged = [each._replace(signature=damaged(each.signature)) for each in _epoch(9, days=9)]
    taken = logs.offer(forged)
    assert (taken.accepted, taken.dropped, len(logs)) == ([], [], _MOST + 1)


def test_full_node_gives_a_known_member_its_own_place_and_a_stranger_none(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = _full()
    monkeypatch.setattr(limits, "LOGS_MAX", _MOST + 1)
    monkeypatch.setattr(limits, "EPOCHS_PER_KEY_MAX", 99)
    assert [each.reason for each in logs.offer(log_of("eve", 2)).refusals] == ["too_many_logs"]
    assert _taken(logs, _epoch(9, days=9)) == (True, [_FIRST])
    bob = _epoch(9, days=9, owner="bob")
    assert _taken(logs, bob) == (True, [log_of("bob", 1)[0].log])


def test_adopted_epoch_takes_a_place_in_the_same_way() -> None:
    logs, new = _full(), Pen("ann", 9)
    new.clock.now_ms = 9 * 86_400_000
    new.fill(6)
    adopted = logs.adopt(new.log, new.entries[3].head, new.entries[:1], new.entries[4:])
    assert adopted is not None
    assert list(adopted.dropped) == [_FIRST]


def test_dates_are_known_after_a_restart() -> None:
    before = _full()
    dates = {state.log: 10**13 for state in before.states()}
    logs = Logs(MESH, NO_LOG, before.states(), {}, dates)
    assert [each.reason for each in logs.offer(_epoch(9, days=9)).refusals] == ["too_many_epochs"]
