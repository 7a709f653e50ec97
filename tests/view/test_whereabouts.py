"""Which changes of a target's address are told: those that are news, and never many."""

import random
from collections.abc import Iterable
from itertools import chain, cycle, islice, repeat

from demesh.limits import ADDRESS_NEWS_LOOKS, ADDRESS_NEWS_MAX, ADDRESS_RECENT_LOOKS
from demesh.view.whereabouts import Change, Whereabouts

A, B, C = "192.0.2.1", "192.0.2.7", "192.0.2.9"
_MANY = 1_440


def _told(looks: Iterable[str | None]) -> list[Change]:
    whereabouts = Whereabouts()
    return [change for each in looks if (change := whereabouts.look(each)) is not None]


def test_a_name_that_moves_is_told_once_with_where_it_was() -> None:
    assert _told([A, None, A, B, B, None, B]) == [Change(B, A)]


def test_the_first_address_is_no_change() -> None:
    assert _told([None, None, A, A]) == []


def test_one_that_comes_back_soon_is_no_news_and_one_that_comes_back_late_is() -> None:
    assert _told([A, B, A, B, A]) == [Change(B, A)]
    assert _told([A, *[B] * (ADDRESS_RECENT_LOOKS - 1), A]) == [Change(B, A)]
    assert _told([A, *[B] * ADDRESS_RECENT_LOOKS, A]) == [Change(B, A), Change(A, B)]


def test_a_round_of_a_few_addresses_is_told_once_each() -> None:
    looks = islice(cycle((A, B, C)), _MANY)
    assert _told(looks) == [Change(B, A), Change(C, B)]


def test_a_pool_that_leads_somewhere_else_each_time_is_told_a_few_times_and_then_that_it_rotates() -> None:
    told = _told(f"192.0.{n // 250}.{n % 250}" for n in range(_MANY))
    assert [each.rotates for each in told] == [False] * ADDRESS_NEWS_MAX + [True]


def test_so_is_one_of_a_few_dozen_in_any_order() -> None:
    order = random.Random(5)
    told = _told(f"192.0.2.{order.randrange(40)}" for _ in range(_MANY))
    assert len(told) <= ADDRESS_NEWS_MAX + 1


def test_a_name_that_has_stayed_for_a_while_is_news_again_when_it_moves() -> None:
    pool = [f"198.51.100.{n}" for n in range(30)]
    assert _told(chain(pool, repeat(A, ADDRESS_NEWS_LOOKS), [B]))[-1] == Change(B, A)
    assert _told(chain(pool, repeat(A, ADDRESS_NEWS_LOOKS // 2), [B]))[-1].rotates


def test_what_only_prepares_is_not_told_and_uses_nothing_up() -> None:
    whereabouts = Whereabouts()
    for n in range(30):
        assert whereabouts.look(f"198.51.100.{n}", tells=False) is None
    assert whereabouts.look("198.51.100.29") is None
    assert whereabouts.look("198.51.100.25") is None, "seen lately"
    assert whereabouts.look(A) == Change(A, "198.51.100.25")


def test_what_is_remembered_is_bounded() -> None:
    whereabouts = Whereabouts()
    for n in range(_MANY):
        whereabouts.look(f"192.0.{n // 250}.{n % 250}")
    assert len(whereabouts._seen) <= ADDRESS_RECENT_LOOKS + 1
