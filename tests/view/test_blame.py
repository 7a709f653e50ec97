"""Whom to blame when vantages disagree: tables of who says what, and what follows whatever the order."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from demesh.view.blame import Asked, Said, asked, broken, concerned, kind_of
from demesh.view.vote import Vote
from tests.view.build import row

P, F, U = Vote.PASS, Vote.FAIL, Vote.UNSEEN
_A, _B, _C = (bytes([each]) for each in b"abc")


def _check(votes: Mapping[bytes, Vote | Said], network: int = 0, **fields: Any) -> Asked:
    """A check in network `network`, with what each vantage says of it."""
    said = [each if isinstance(each, Said) else Said(key, each) for key, each in votes.items()]
    return asked(row(**fields), said, [None, f"198.51.{network}.7"])


def _checks(count: int, votes: Mapping[bytes, Vote | Said], first: int = 0, **fields: object) -> list[Asked]:
    return [_check(votes, first + n, **fields) for n in range(count)]


def test_who_fails_most_of_what_others_pass_is_broken_and_no_target() -> None:
    found = broken(_checks(3, {_A: F, _B: P, _C: P}) + _checks(2, {_A: P, _B: P, _C: P}, 10))
    assert found.keys() == {_A}
    assert found[_A].why == "3 of 5 checks that others run too fail there, and pass with most of the others"


def test_half_of_its_checks_is_not_most() -> None:
    assert broken(_checks(3, {_A: F, _B: P, _C: P}) + _checks(3, {_A: P, _B: P, _C: P}, 10)) == {}


def test_two_networks_are_too_few_however_many_checks_there_are() -> None:
    assert broken([_check({_A: F, _B: P}, n % 2) for n in range(20)]) == {}


def test_targets_on_the_machines_themselves_tell_nothing_of_the_way_to_others() -> None:
    local = [asked(row(), [Said(_A, F), Said(_B, P)], [f"127.0.{n}.1"]) for n in range(5)]
    assert broken(local) == {}


def test_where_most_fail_the_targets_are_to_blame() -> None:
    assert broken(_checks(5, {_A: F, _B: F, _C: P})) == {}
    assert broken(_checks(5, {_A: F, _B: F, _C: F})) == {}


def test_whom_nobody_contradicts_is_not_blamed() -> None:
    assert broken(_checks(9, {_A: F})) == {}
    assert broken(_checks(9, {_A: F, _B: U, _C: U})) == {}


def test_of_two_the_one_that_has_seen_an_answer_is_believed() -> None:
    assert broken(_checks(4, {_A: F, _B: P})).keys() == {_A}


def test_a_vantage_may_be_broken_for_one_kind_of_check_only() -> None:
    lost = _checks(8, {_A: F, _B: P, _C: P}, type="stun", keys=(("transport", '"udp"'),))
    well = _checks(20, {_A: P, _B: P, _C: P}, 100, type="http")
    found = broken(lost + well)
    assert found[_A].kinds == {"stun over udp, IPv4"}
    assert concerned(found, _A, "stun over udp, IPv4").startswith("stun over udp, IPv4: 8 of 8 checks")
    assert concerned(found, _A, "http, IPv4") == concerned(found, _B, "stun over udp, IPv4") == ""


def test_who_cannot_run_most_of_its_checks_is_broken_without_anybody_else() -> None:
    error = Said(_A, P, error="no route")
    found = broken(_checks(3, {_A: error}) + _checks(2, {_A: P}))
    assert found[_A].why == "3 of its 5 checks cannot be run there: no route"
    assert broken(_checks(2, {_A: error})) == {}, "two checks may well be two mistakes"
    never = Said(_A, U, error="no right to ping")
    assert broken(_checks(1, {_A: never}))[_A].why == "1 of its 1 checks cannot be run there: no right to ping"
    assert broken(_checks(1, {_A: never}) + _checks(1, {_A: P}, 1)) == {}


def test_what_passed_before_it_failed_elsewhere_contradicts_nobody() -> None:
    failing = Said(_A, F, failing_since_ms=1_000)
    assert broken(_checks(3, {_A: failing, _B: Said(_B, P, told_ms=999)})) == {}
    assert broken(_checks(3, {_A: failing, _B: Said(_B, P, told_ms=1_001)})).keys() == {_A}


def test_what_enough_vantages_see_fail_is_nobodys_fault() -> None:
    assert broken(_checks(4, {_A: F, _B: P, _C: P}, quorum=1)) == {}
    assert broken(_checks(4, {_A: F, _B: F, _C: P, b"d": P})) == {}, "as many pass as fail"


def test_who_is_overloaded_is_broken() -> None:
    found = broken(_checks(3, {_A: Said(_A, P, late=True)}))
    assert found[_A].why == "it is overloaded: 3 of its 3 checks run late"


def test_kinds_are_told_apart_by_type_transport_and_family() -> None:
    assert kind_of(row(), "192.0.2.1") == "http, IPv4"
    assert kind_of(row(), "2001:db8::1") == "http, IPv6"
    assert kind_of(row(type="dns", keys=(("transport", '"tls"'),)), None) == "dns over tls"


_VOTES = st.sampled_from([P, F, U])


@given(
    st.lists(st.tuples(_VOTES, _VOTES, _VOTES, st.integers(0, 5), st.sampled_from(["http", "tcp"])), max_size=14),
    st.randoms(use_true_random=False),
)
def test_the_order_of_checks_and_vantages_changes_nothing(
    rows: Sequence[tuple[Vote, Vote, Vote, int, str]], rng: random.Random
) -> None:
    def build(order: Sequence[bytes], each: tuple[Vote, Vote, Vote, int, str]) -> Asked:
        votes = dict(zip((_A, _B, _C), each[:3], strict=True))
        return _check({key: votes[key] for key in order}, each[3], type=each[4])

    one = broken([build((_A, _B, _C), each) for each in rows])
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert broken([build((_C, _A, _B), each) for each in shuffled]) == one
    for key, reason in one.items():
        assert any(
            (key == _A and each[0] == F) or (key == _B and each[1] == F) or (key == _C and each[2] == F)
            for each in rows
        )
        assert reason.why
