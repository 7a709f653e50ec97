"""Public servers checked every quarter of an hour from three places: what an outage does to their ranks, within the hour."""

from demesh.log.sums import HOUR_MS
from demesh.outcome import Outcome
from demesh.view.fold import View
from demesh.view.ranking import Seen, Server, rank
from demesh.view.record import Record, kept
from demesh.view.vote import Vote
from tests.view.build import FAIL, PASS, MemberLog, deliver, new_view, result, row, three_vantages

_SLOT_MS, _RETRY_MS, _BEAT_MS = 15 * 60_000, 10_000, 20_000
_MANY = 20
_KNOWN_HOURS = 30 * 24
_ROWS = [
    row(
        f"s{number:02}",
        type="ntp",
        target=f"ntp://s{number:02}.example.net",
        interval_ms=_SLOT_MS,
        keys=(("listed", "true"),),
    )
    for number in range(_MANY)
]
_DOWN, _DOWN_FROM_ONE = 0, 3
"""The best of all, and one of the best."""


def _outcome(check: int, member: str, up_ms: int) -> Outcome:
    """After the first hour one server fails for all, and another for a alone."""
    fails = up_ms >= HOUR_MS and (check == _DOWN or (check == _DOWN_FROM_ONE and member == "a"))
    return FAIL if fails else PASS


def _watch(view: View, members: list[MemberLog], from_ms: int, until_ms: int) -> None:
    """All run each check every quarter of an hour, and what begins to fail once more 10 s later; between that they give signs."""
    for up_ms in range(from_ms, until_ms, _RETRY_MS):
        for member in members:
            slot, retry = up_ms % _SLOT_MS == 0, up_ms == HOUR_MS + _RETRY_MS
            found = [(check, _outcome(check, member.name, up_ms)) for check in range(_MANY)]
            due = [(check, said) for check, said in found if slot or (retry and said != PASS)]
            if due or up_ms % _BEAT_MS == 0:
                results = [result(said, up_ms, check=check) for check, said in due]
                deliver(view, member, member.results(up_ms, *results), up_ms)


def _recorded(check: int, member: str, hours_later: int) -> Record:
    """A month in which each server was up half a percent less than the one before it, and what came since."""
    record = Record()
    for ago in range(_KNOWN_HOURS + hours_later, 0, -1):
        up = 1 - check * 0.005
        if ago <= hours_later and _outcome(check, member, 2 * HOUR_MS) != PASS:
            up = 0.0
        up_ms, share = round(up * HOUR_MS), kept((ago - 0.5) * HOUR_MS)
        record = record.then(Record(up_ms, HOUR_MS - up_ms, share * up_ms, share * (HOUR_MS - up_ms)))
    return record


def _ranked(view: View, members: list[MemberLog], now_ms: int, hours_later: int) -> list[Server]:
    records = {
        each.name: {member.key: _recorded(check, member.name, hours_later) for member in members}
        for check, each in enumerate(_ROWS)
    }
    return rank(view.checks(now_ms), records, {member.key: member.name for member in members})


def test_down_for_one_it_keeps_its_rank_and_down_for_all_it_leaves_the_top_half_within_the_hour() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    _watch(view, members, 0, HOUR_MS)
    before = [each.name for each in _ranked(view, members, HOUR_MS - 1, 0)]
    assert before == [each.name for each in _ROWS], "by what was recorded"
    _watch(view, members, HOUR_MS, 2 * HOUR_MS)
    after = _ranked(view, members, 2 * HOUR_MS - 1, 1)
    names = [each.name for each in after]
    assert names.index(before[_DOWN]) >= _MANY // 2
    assert [each for each in names if each != before[_DOWN]] == before[1:], "all others stand as they stood"
    partial = after[names.index(before[_DOWN_FROM_ONE])]
    assert (partial.state, partial.vantages) == (
        "partial",
        (Seen("a", Vote.FAIL, True), Seen("b", Vote.PASS, True), Seen("c", Vote.PASS, True)),
    )


def test_a_quarter_of_an_hour_is_enough_for_the_votes_to_say_so() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    _watch(view, members, 0, HOUR_MS + 60_000)
    names = [each.name for each in _ranked(view, members, HOUR_MS + 60_000, 0)]
    assert names[-1] == _ROWS[_DOWN].name, "though nothing of it is recorded yet"
