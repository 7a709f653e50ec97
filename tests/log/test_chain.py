from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.log.chain import Logs
from demesh.log.codec import encode, values
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from demesh.log.state import LogState, vector, vector_digest
from demesh.log.taken import Gap, Refusal
from demesh.mesh.sync import Message
from demesh.mesh.sync_puller import Puller
from tests.log.builders import (
    MESH,
    NO_LOG,
    OTHER_MESH,
    Pen,
    damaged,
    generated,
    key_of,
    lean_but_tip,
    log_of,
    public_key_of,
    rewritten,
    stripped,
)


def _holding(*logs: list[Entry]) -> Logs:
    """The rules of a node that has taken in `logs`."""
    found = Logs(MESH, NO_LOG)
    for entries in logs:
        assert found.offer(entries).accepted == entries
    return found


def _refused(logs: Logs, entries: list[Entry]) -> str:
    """Why all of `entries` is refused; nothing of it may have an effect."""
    before = logs.states()
    taken = logs.offer(entries)
    assert not taken.accepted
    assert logs.states() == before
    (refusal,) = taken.refusals
    return refusal.reason


def _head(logs: Logs, entries: list[Entry]) -> Head | None:
    state = logs.get(entries[0].log)
    return state.head if state else None


def test_log_grows_in_order_from_its_hello() -> None:
    ann, bob = log_of("ann", 5), log_of("bob", 3)
    logs = Logs(MESH, NO_LOG)
    assert logs.offer(ann[:2]).accepted == ann[:2]
    taken = logs.offer([ann[2], bob[0], ann[3], bob[1], ann[4], bob[2]])
    assert sorted(each.hash for each in taken.accepted) == sorted(each.hash for each in ann[2:] + bob)
    assert [each.seq for each in taken.accepted if each.log == ann[0].log] == [2, 3, 4]
    assert (_head(logs, ann), _head(logs, bob)) == (ann[4].head, bob[2].head)
    assert {state.public_key for state in logs.states()} == {public_key_of("ann"), public_key_of("bob")}
    assert len(logs) == 2


def test_repeats_are_counted_and_change_nothing() -> None:
    ann = log_of("ann", 5)
    logs = _holding(ann)
    taken = logs.offer(ann[1:4])
    assert (taken.accepted, taken.refusals, taken.gaps, taken.repeated) == ([], [], [], 3)
    assert _head(logs, ann) == ann[4].head


def test_repeats_in_front_of_news_are_no_hindrance() -> None:
    ann = log_of("ann", 5)
    taken = _holding(ann[:3]).offer(ann[1:])
    assert (taken.accepted, taken.repeated) == (ann[3:], 2)


def test_repeats_from_long_ago_are_repeats() -> None:
    ann = log_of("ann", 100)
    taken = _holding(ann).offer(ann[:3])
    assert (taken.accepted, taken.refusals, taken.repeated) == ([], [], 3)


def test_gap_is_reported_with_what_is_missing() -> None:
    ann = log_of("ann", 9)
    logs = _holding(ann[:3])
    taken = logs.offer(ann[6:])
    assert (taken.accepted, taken.refusals) == ([], [])
    assert taken.gaps == [Gap(ann[0].log, 3, 5)]
    assert Logs(MESH, NO_LOG).offer(ann[2:]).gaps == [Gap(ann[0].log, 0, 1)]


def test_gap_inside_an_offer_ends_what_is_taken() -> None:
    ann = log_of("ann", 5)
    taken = _holding(ann[:1]).offer([ann[1], ann[2], ann[4]])
    assert taken.accepted == ann[1:3]
    assert taken.refusals == [Refusal(ann[0].log, 4, "not_contiguous")]


def test_number_left_out_by_the_author_is_refused_though_the_link_is_right() -> None:
    ann = log_of("ann", 2)
    skipping = rewritten(ann[1], key_of("ann"), seq=3, prev=ann[1].hash)
    taken = _holding(ann[:1]).offer([ann[1], skipping])
    assert taken.accepted == ann[1:]
    assert taken.refusals == [Refusal(ann[0].log, 3, "not_contiguous")]


def test_wrong_link_is_refused() -> None:
    ann = log_of("ann", 3)
    astray = rewritten(ann[2], key_of("ann"), prev=b"x" * 32)
    assert _refused(_holding(ann[:2]), [astray]) == "wrong_link"


def test_wrong_signature_is_refused() -> None:
    ann = log_of("ann", 3)
    logs = _holding(ann[:1])
    assert _refused(logs, [ann[1]._replace(signature=damaged(ann[1].signature))]) == "bad_signature"
    assert _refused(logs, [rewritten(ann[1], key_of("bob"))]) == "bad_signature"
    assert _refused(logs, [rewritten(ann[1], key_of("ann"), mesh_id=OTHER_MESH)]) == "bad_signature"


def test_wrong_signature_is_refused_even_where_none_would_be_needed() -> None:
    ann = log_of("ann", 4)
    forged = ann[2]._replace(signature=damaged(ann[2].signature))
    taken = _holding(ann[:1]).offer([ann[1], forged, ann[3]])
    assert taken.accepted == ann[1:2]
    assert taken.refusals == [Refusal(ann[0].log, 2, "bad_signature")]


def test_entry_of_another_mesh_is_refused() -> None:
    assert _refused(Logs(MESH, NO_LOG), log_of("ann", 2, mesh_id=OTHER_MESH)) == "bad_signature"


@pytest.mark.parametrize("kind", [each for each in Kind if each not in (Kind.RESULTS, Kind.ROLLUP)])
def test_only_results_and_rollups_may_lack_a_signature(kind: Kind) -> None:
    pen = Pen("ann")
    hello, entry, tip = pen.hello(), pen.write(kind, []), pen.results()
    taken = _holding([hello]).offer([stripped(entry), tip])
    assert taken.accepted == []
    assert taken.refusals == [Refusal(pen.log, 1, "no_signature")]


def test_hello_without_a_signature_begins_no_log() -> None:
    ann = log_of("ann", 2)
    assert _refused(Logs(MESH, NO_LOG), [stripped(ann[0]), ann[1]]) == "no_signature"


def test_results_without_signatures_are_vouched_for_by_the_next_signed_entry() -> None:
    ann = log_of("ann", 6)
    lean = lean_but_tip(ann)
    assert [bool(each.signature) for each in lean] == [True, False, False, False, False, True]
    logs = _holding(lean)
    assert _head(logs, ann) == ann[5].head


def test_results_that_no_later_signature_vouches_for_are_refused() -> None:
    ann = log_of("ann", 6)
    offered = [*ann[1:3], *map(stripped, ann[3:])]
    logs = _holding(ann[:1])
    taken = logs.offer(offered)
    assert taken.accepted == ann[1:3]
    assert taken.refusals == [Refusal(ann[0].log, 3, "no_signature")]
    assert _refused(logs, [stripped(ann[3])]) == "no_signature"


def test_a_changed_result_is_not_vouched_for() -> None:
    ann = log_of("ann", 4)
    changed = stripped(rewritten(ann[2], key_of("bob")))
    taken = _holding(ann[:1]).offer([ann[1], changed, ann[3]])
    assert taken.accepted == ann[1:2]
    assert taken.refusals[0] == Refusal(ann[0].log, 3, "wrong_link")


def test_hello_with_a_foreign_key_is_refused() -> None:
    """Bob greets in Ann's log: with his own key, which does not make its id, or with hers, which did not sign."""
    ann, bob = Pen("ann"), Pen("bob")
    hello = ann.hello()
    with_his_key = rewritten(hello, bob.key, payload=bob.greeting().payload())
    assert _refused(Logs(MESH, NO_LOG), [with_his_key]) == "wrong_key"
    assert _refused(Logs(MESH, NO_LOG), [rewritten(hello, bob.key)]) == "bad_signature"


def test_entry_signed_by_another_member_is_refused() -> None:
    ann, bob = log_of("ann", 3), log_of("bob", 3)
    logs = _holding(ann[:2], bob)
    assert _refused(logs, [rewritten(ann[2], key_of("bob"))]) == "bad_signature"


def test_log_that_does_not_begin_with_a_hello_is_refused() -> None:
    other = rewritten(log_of("ann", 1)[0], key_of("ann"), kind=Kind.RESULTS)
    assert _refused(Logs(MESH, NO_LOG), [other]) == "shape"


@pytest.mark.parametrize("seq", [0, 1, 3])
def test_another_body_at_a_known_place_is_refused_as_a_fork(seq: int) -> None:
    ann = log_of("ann", 4)
    other = rewritten(ann[seq], key_of("ann"))
    assert _refused(_holding(ann), [other]) == "fork"


def test_nothing_that_comes_after_a_fork_is_taken() -> None:
    ann = log_of("ann", 3)
    other = rewritten(ann[2], key_of("ann"))
    after = rewritten(ann[2], key_of("ann"), seq=3, prev=other.hash)
    assert _refused(_holding(ann), [ann[1], other, after]) == "fork"


def test_signing_a_body_again_is_no_fork() -> None:
    ann = log_of("ann", 3)
    taken = _holding(ann).offer([stripped(ann[2])])
    assert (taken.repeated, taken.refusals) == (1, [])


def test_own_log_never_grows_from_outside() -> None:
    ann = log_of("ann", 4)
    logs = Logs(MESH, ann[0].log)
    assert _refused(logs, ann) == "own_log"
    logs.append_own(ann[:2])
    assert _refused(logs, ann[2:]) == "own_log"
    taken = logs.offer(ann[:2])
    assert (taken.repeated, taken.refusals) == (2, [])
    logs.append_own(ann[2:])
    assert _head(logs, ann) == ann[3].head


def test_earlier_epoch_of_the_own_key_grows_from_outside() -> None:
    before, now = log_of("ann", 4, epoch=0), log_of("ann", 1, epoch=1)
    logs = Logs(MESH, now[0].log)
    logs.append_own(now)
    assert logs.offer(before).accepted == before


def test_no_more_than_the_allowed_logs_are_held() -> None:
    known = [LogState(i.to_bytes(16, "big"), bytes(32), Head(3, bytes(32))) for i in range(1, limits.LOGS_MAX)]
    logs = Logs(MESH, NO_LOG, known)
    ann = log_of("ann", 3)
    assert logs.offer(ann[:1]).accepted == ann[:1]
    assert len(logs) == limits.LOGS_MAX == 1_024
    assert _refused(logs, log_of("bob", 2)) == "too_many_logs"
    assert logs.offer(ann[1:]).accepted == ann[1:], "those that are held go on"


def test_member_that_begins_epochs_without_end_shuts_out_nobody_but_itself() -> None:
    most = limits.EPOCHS_PER_KEY_MAX
    logs = Logs(MESH, NO_LOG)
    for epoch in range(most):
        assert len(logs.offer(log_of("eve", 1, epoch=epoch)).accepted) == 1
    assert _refused(logs, log_of("eve", 1, epoch=most)) == "too_many_epochs"
    assert len(logs.offer(log_of("bob", 1)).accepted) == 1


def test_own_epoch_leaves_a_full_node_with_a_vector_that_others_can_read() -> None:
    known = [LogState(i.to_bytes(16, "big"), bytes(32), Head(3, bytes(32))) for i in range(limits.LOGS_MAX)]
    own = log_of("ann", 2)
    logs = Logs(MESH, own[0].log, known)
    logs.append_own(own)
    assert _refused(logs, log_of("bob", 2)) == "too_many_logs"
    offered = encode([Message.VECTOR, values(vector(logs.states()))])
    puller = Puller(MESH, [])
    puller.offered(offered)
    assert puller.held[own[0].log].head_seq == 1


def test_known_logs_go_on_after_a_restart() -> None:
    ann = log_of("ann", 5)
    logs = Logs(MESH, NO_LOG, _holding(ann[:3]).states())
    assert _refused(logs, [rewritten(ann[2], key_of("ann"))]) == "fork"
    assert logs.offer(ann[3:]).accepted == ann[3:]


_LOGS = {owner: log_of(owner, length) for owner, length in (("ann", 8), ("bob", 5), ("cat", 1))}


@st.composite
def _pieces(draw: st.DrawFn) -> list[list[Entry]]:
    """Offers of all logs in any order, cut and repeated anywhere, some as a page of sync would have them."""
    offers: list[list[Entry]] = []
    for entries in _LOGS.values():
        for _ in range(draw(st.integers(0, 6))):
            first = draw(st.integers(0, len(entries) - 1))
            piece = entries[first : draw(st.integers(first, len(entries))) + 1]
            offers.append(lean_but_tip(piece) if draw(st.booleans()) else piece)
    mixed = draw(st.permutations(offers))
    if draw(st.booleans()):
        mixed = [a + b for a, b in zip(mixed[::2], mixed[1::2], strict=False) if a[0].log != b[0].log] + mixed
    return mixed


@generated
@given(_pieces())
def test_order_of_arrival_does_not_matter(pieces: list[list[Entry]]) -> None:
    logs = Logs(MESH, NO_LOG)
    taken: list[Entry] = []
    for piece in [*pieces, *_LOGS.values()]:
        held = {state.log: state.head.seq for state in logs.states()}
        outcome = logs.offer(piece)
        assert outcome.refusals == []
        for gap in outcome.gaps:
            offered = [each.seq for each in piece if each.log == gap.log]
            assert (gap.first, gap.last) == (held.get(gap.log, -1) + 1, min(offered) - 1)
        taken += outcome.accepted
    for entries in _LOGS.values():
        assert _head(logs, entries) == entries[-1].head
        assert [each.hash for each in taken if each.log == entries[0].log] == [each.hash for each in entries]
    reference = _holding(*_LOGS.values())
    assert vector_digest(logs.states()) == vector_digest(reversed(reference.states()))
    assert vector(logs.states()) == vector(reversed(reference.states()))


def test_digests_differ_when_a_head_does() -> None:
    ann, bob = log_of("ann", 3), log_of("bob", 1)
    digests = {
        vector_digest(_holding(*held).states())
        for held in ([], [ann[:2]], [ann], [ann, bob], [log_of("ann", 3, epoch=1)])
    }
    assert len(digests) == 5


def test_digest_leaves_out_what_was_pruned() -> None:
    ann = log_of("ann", 3)
    (state,) = _holding(ann).states()
    pruned = replace(state, pruned_to=2)
    assert vector_digest([pruned]) == vector_digest([state])
    assert vector([pruned]) == [[state.log, 2, 2, state.head.hash[:8]]]
