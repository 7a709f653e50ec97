"""What a node makes of an offer of a new swarm key: who is listened to, what is taken, and what is never said."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import EntryError
from demesh.identity import SwarmKey
from demesh.log.codec import Value, encode, values
from demesh.mesh.key_change import (
    Change,
    Declined,
    Refusal,
    Taken,
    answered,
    consider,
    decode_change,
    encode_change,
    refusal,
)

_OLD, _NEW, _OTHER = SwarmKey(b"o" * 32), SwarmKey(b"n" * 32), SwarmKey(b"x" * 32)
_ANN, _BOB, _CAT, _EVE = (name.encode().ljust(32, b"\0") for name in ("ann", "bob", "cat", "eve"))
_ALL = frozenset({_ANN, _BOB, _CAT})
_CHANGE = Change(_OLD.digest, _NEW, _ANN, _ALL, frozenset({_ANN}))


def _heard(
    offered: Change = _CHANGE,
    sender: bytes = _ANN,
    own: Change | None = None,
    current: SwarmKey = _OLD,
    trusted: frozenset[bytes] = _ALL,
    settled: bool = False,
) -> Taken:
    """What bob does."""
    return consider(offered, sender, own=own, current=current, settled=settled, me=_BOB, trusted=trusted)


def _refused(**offer: object) -> Refusal:
    with pytest.raises(Declined) as caught:
        _heard(**offer)  # pyright: ignore[reportArgumentType]
    return Refusal(caught.value.code)


def test_an_offer_of_a_known_member_is_taken_and_confirmed() -> None:
    taken = _heard()
    assert taken.change == replace(_CHANGE, confirmed=frozenset({_ANN, _BOB}))
    assert answered(taken.answer, _CHANGE, _BOB).confirmed == {_ANN, _BOB}


def test_what_another_member_passes_on_is_taken_too() -> None:
    taken = _heard(sender=_CAT)
    assert taken.change
    assert taken.change.confirmed == {_ANN, _BOB, _CAT}


@pytest.mark.parametrize(
    "offer",
    [
        {"sender": _EVE},
        {"trusted": frozenset({_CAT})},
        {"offered": replace(_CHANGE, members=frozenset({_ANN, _CAT}))},
        {"offered": replace(_CHANGE, members=frozenset({_BOB, _CAT}))},
        {"offered": replace(_CHANGE, by=_EVE)},
    ],
    ids=["of nobody we know", "of a member we do not trust", "not for us", "not for its sender", "begun by a stranger"],
)
def test_only_a_known_member_may_give_a_key(offer: dict[str, object]) -> None:
    assert _refused(**offer) == Refusal.STRANGER


def test_a_change_from_another_key_than_ours_is_not_taken() -> None:
    assert _refused(current=_OTHER) == Refusal.OTHER_KEY


def test_during_a_change_no_other_one_is_taken_not_even_a_finished_one() -> None:
    other = replace(_CHANGE, key=_OTHER, finished=True)
    assert _refused(offered=other, own=_CHANGE) == Refusal.OTHER_CHANGE


def test_who_is_left_out_has_no_say_in_the_change() -> None:
    without_cat = replace(_CHANGE, members=frozenset({_ANN, _BOB}))
    assert _refused(offered=replace(_CHANGE, key=_OTHER), sender=_CAT, own=without_cat) == Refusal.STRANGER
    assert _refused(offered=replace(_CHANGE, finished=True), sender=_CAT, own=without_cat) == Refusal.STRANGER


def test_the_list_of_those_who_may_have_it_never_grows() -> None:
    own = replace(_CHANGE, members=frozenset({_ANN, _BOB}))
    taken = _heard(offered=replace(_CHANGE, members=_ALL | {_EVE}, confirmed=frozenset({_EVE})), own=own)
    assert taken.change
    assert taken.change.members == {_ANN, _BOB}
    assert taken.change.confirmed == {_ANN, _BOB}


def test_that_it_is_finished_is_passed_on() -> None:
    taken = _heard(offered=replace(_CHANGE, finished=True), own=_CHANGE)
    assert taken.change
    assert taken.change.finished
    assert answered(taken.answer, _CHANGE, _BOB).finished


def test_who_comes_late_hears_that_the_change_is_finished() -> None:
    taken = _heard(current=_NEW, settled=True)
    assert taken.change is None
    assert answered(taken.answer, _CHANGE, _BOB).finished


def test_who_joined_by_an_invitation_during_the_change_has_the_key_and_ends_nothing() -> None:
    taken = _heard(current=_NEW)
    assert taken.change is None
    known = answered(taken.answer, _CHANGE, _BOB)
    assert known.confirmed == {_ANN, _BOB}
    assert not known.finished


@given(st.permutations([(_BOB, False), (_CAT, False), (_ANN, True)]))
def test_the_order_in_which_things_are_heard_does_not_matter(said: list[tuple[bytes, bool]]) -> None:
    change = _CHANGE
    for key, finished in said:
        change = change.joined({key, _EVE}, finished)
    assert change == replace(_CHANGE, confirmed=_ALL, finished=True)
    assert change.missing() == frozenset()


def test_no_answer_holds_a_key() -> None:
    answers = [_heard().answer, _heard(current=_NEW).answer, _heard(own=_CHANGE).answer, refusal(Refusal.BUSY, "later")]
    for answer in answers:
        for key in (_OLD, _NEW):
            assert key.psk not in answer
            assert key.psk.hex().encode() not in answer


def test_a_change_survives_being_written_down() -> None:
    assert decode_change(encode_change(_CHANGE)) == _CHANGE
    assert _NEW.psk.hex() not in repr(_CHANGE)


def test_a_later_version_may_say_more() -> None:
    said: Value = [1, _OLD.digest, _NEW.psk, _ANN, values(sorted(_ALL)), [_ANN], 0, "more"]
    assert decode_change(encode(said)) == _CHANGE


@pytest.mark.parametrize(
    "said",
    [
        [],
        [1],
        [2, _OLD.digest],
        [1, _OLD.digest, b"short", _ANN, [], [], 0],
        [1, _OLD.digest, _NEW.psk, _ANN, [1], [], 0],
    ],
)
def test_nonsense_is_no_offer(said: list[object]) -> None:
    with pytest.raises(EntryError):
        decode_change(encode(said))  # pyright: ignore[reportArgumentType]


def test_an_answer_about_another_key_is_none() -> None:
    with pytest.raises(EntryError):
        answered(_heard().answer, replace(_CHANGE, key=_OTHER), _BOB)
    with pytest.raises(Declined, match="try later"):
        answered(refusal(Refusal.BUSY, "try later"), _CHANGE, _BOB)
