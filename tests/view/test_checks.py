"""What is said of checks when it is asked for again and again: the same as if it were worked out anew."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from demesh.log.entry import Entry
from demesh.view.checks import Checks, CheckView
from demesh.view.fold import View
from tests.view.build import FAIL, PASS, MemberLog, deliver, new_view, row, three_vantages

_LISTED = row("stun", keys=(("listed", "true"),), fail_after=1)
_ROWS = (row(), row("api", fail_after=1), _LISTED)
_OTHER_ROWS = (row(interval_ms=30_000), row("api", runs=False), replace(_LISTED, runs=False, parked=True))
_SAYINGS: dict[str, Callable[[MemberLog, int], Entry]] = {
    "pass": lambda author, up_ms: author.outcomes(up_ms, PASS),
    "two fails": lambda author, up_ms: author.outcomes(up_ms, FAIL, FAIL),
    "of the other": lambda author, up_ms: author.outcomes(up_ms, FAIL, check=1),
    "of the list": lambda author, up_ms: author.outcomes(up_ms, FAIL, check=2),
    "of the list, and well": lambda author, up_ms: author.outcomes(up_ms, PASS, check=2),
    "heartbeat": lambda author, up_ms: author.results(up_ms),
    "plan": lambda author, up_ms: author.plan(up_ms, *_ROWS),
    "other plan": lambda author, up_ms: author.plan(up_ms, *_OTHER_ROWS),
    "no checks": lambda author, up_ms: author.plan(up_ms),
    "bye": lambda author, up_ms: author.bye(up_ms, back_by_ms=20_000),
}
_WHO = st.sampled_from(["own", "b", "c", "a later epoch of b"])
_Story = list[tuple[int, str, str, bool]]
_STORIES = st.lists(
    st.tuples(
        st.sampled_from([0, 300, 2_000, 20_000, 100_000]),
        _WHO,
        st.sampled_from([*sorted(_SAYINGS), *"....!-"]),
        st.booleans(),
    ),
    max_size=40,
)


def _anew(view: View, now_ms: int) -> list[CheckView]:
    return Checks(view.standing).at(view.members(), now_ms)


@given(_STORIES)
@example([(2_000, "own", "pass", True), (200_000, "own", ".", True)])
@example([(0, "own", "other plan", False), (0, "own", "of the list, and well", False)])
def test_what_was_kept_is_what_would_be_said_anew(story: _Story) -> None:
    """`.` only lets time pass, `-` ticks, and `!` is a stall after which the view listens anew."""
    logs = {name: MemberLog(name) for name in ("own", "b", "c")}
    logs["a later epoch of b"] = MemberLog("b", epoch=1, boot=1)
    view, now_ms, started = new_view(), 0, set[str]()
    for passes_ms, who, what, first_hand in story:
        now_ms += passes_ms
        if what == "-":
            view.tick(now_ms)
        elif what == "!":
            view.listen_anew(now_ms, now_ms)
        elif what != ".":
            if who not in started:
                started.add(who)
                deliver(view, logs[who], logs[who].start(now_ms, *_ROWS), now_ms, first_hand=first_hand)
            deliver(view, logs[who], _SAYINGS[what](logs[who], now_ms), now_ms, first_hand=first_hand)
        assert view.checks(now_ms) == _anew(view, now_ms)


def test_what_has_not_changed_is_not_worked_out_anew() -> None:
    view = new_view()
    a, *_ = three_vantages(view, *_ROWS)
    deliver(view, a, a.outcomes(0, PASS, check=1), 0)
    api, _, web = view.checks(0)
    deliver(view, a, a.outcomes(10, PASS), 10)
    assert view.checks(10)[0] is api
    assert view.checks(10)[1] is not web


def test_each_time_is_answered_for_itself() -> None:
    view, own = new_view(), MemberLog("own")
    deliver(view, own, [*own.start(0, row()), own.outcomes(0, PASS)], 0)
    assert [str(view.checks(now_ms)[0].verdict) for now_ms in (0, 1_000_000, 0)] == ["up", "unknown", "up"]
