"""Two nodes with one key are told from a node that restarts."""

import pytest

from demesh.view.sharing import Span, is_shared
from tests.view.build import OWN, MemberLog, deliver, new_view

_PROMISE_MS = 25_000


@pytest.mark.parametrize(
    ("spans", "now_s", "shared"),
    [
        ([], 100, False),
        ([(0, 100)], 100, False),
        ([(0, 100), (50, 100)], 100, True),
        ([(0, 100), (50, 90)], 100, True),
        ([(0, 60), (60, 100)], 100, False),  # a restart
        ([(0, 60), (59, 100)], 100, False),  # as blurred as clocks and deliveries are
        ([(0, 60), (100, 100)], 100, False),
        ([(0, 100), (50, 50)], 100, False),  # an old log's last entry, taken for fresh
        ([(0, 60), (50, 100)], 90, True),
        ([(0, 60), (50, 100)], 100, False),  # one of them has fallen silent: 35 s after its last sign
        ([(0, 30), (30, 60), (60, 100), (70, 100)], 100, True),
    ],
)
def test_key_is_shared_while_two_logs_go_on_side_by_side(
    spans: list[tuple[int, int]], now_s: int, shared: bool
) -> None:
    found = [Span(1_000 * first, 1_000 * last, _PROMISE_MS) for first, last in spans]
    assert is_shared(found, 1_000 * now_s) == shared
    assert is_shared(reversed(found), 1_000 * now_s) == shared


def test_node_that_ends_one_log_and_begins_the_next_shares_its_key_with_nobody() -> None:
    view = new_view()
    first, second = MemberLog("fra"), MemberLog("fra", epoch=1)
    now_ms = 0
    for log in (first, second):
        for seq in range(6):
            deliver(view, log, log.hello(now_ms) if seq == 0 else log.results(now_ms), now_ms)
            assert view.shared(now_ms) == set()
            now_ms += 10_000


def test_copy_of_a_node_that_runs_beside_it_is_noticed_until_one_of_them_stops() -> None:
    view = new_view()
    one, other = MemberLog("fra"), MemberLog("fra", epoch=1)
    for log in (one, other):
        deliver(view, log, log.hello(0), 0)
    for now_ms in (10_000, 20_000):
        for log in (one, other):
            deliver(view, log, log.results(now_ms), now_ms)
    assert view.shared(20_000) == {one.key}
    assert OWN.key not in view.shared(20_000)
    for now_ms in range(30_000, 80_000, 10_000):
        deliver(view, one, one.results(now_ms), now_ms)
    assert view.shared(80_000) == set()


def test_what_a_peer_says_it_writes_tells_too_of_a_copy_whose_log_does_not_come_through() -> None:
    view = new_view()
    for now_ms, log, shared in [(0, b"one", False), (1, b"two", False), (2, b"two", False), (30_000, b"one", True)]:
        view.writes(b"key", log, now_ms)
        assert view.shared(now_ms) == ({b"key"} if shared else set())
    for now_ms in range(60_000, 330_001, 30_000):
        view.writes(b"key", b"one", now_ms)  # the other has stopped
        assert view.shared(now_ms) == {b"key"}
    assert view.shared(330_001) == set()


def test_node_that_restarts_again_and_again_never_comes_back_to_an_earlier_log() -> None:
    view = new_view()
    for now_ms in range(0, 900_000, 30_000):
        view.writes(b"key", b"epoch %d" % (now_ms // 90_000), now_ms)
        assert view.shared(now_ms) == set()
