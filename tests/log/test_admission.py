"""Who may be a member: what the configuration says of keys, and how many strangers a node gets to know at once."""

from collections.abc import Sequence

import pytest

from demesh import limits
from demesh.errors import EntryError
from demesh.log.admission import Admission, Policy
from demesh.log.chain import Logs
from demesh.log.entry import Entry, Kind
from demesh.log.event import Event
from demesh.log.taken import Gap
from tests.log.builders import MESH, NO_LOG, Pen, Shelf, log_of, public_key_of

_ANN, _BOB = log_of("ann", 6), log_of("bob", 3)
_A, _B = public_key_of("ann"), public_key_of("bob")
_HOUR_MS = 3_600_000


def _logs(policy: Policy, *held: Sequence[Entry]) -> tuple[Logs, Admission]:
    admission = Admission(public_key_of("own"))
    logs = Logs(MESH, NO_LOG, admission=admission)
    for entries in held:
        assert logs.offer(entries).accepted == entries
    admission.policy = policy
    return logs, admission


def _reasons(logs: Logs, entries: Sequence[Entry], now_ms: int = 0) -> list[str]:
    taken = logs.offer(entries, now_ms=now_ms)
    assert taken.gaps == []
    return [each.reason for each in taken.refusals] or (["taken"] if taken.accepted else [])


def test_a_denied_key_is_refused_whatever_else_is_said_of_it() -> None:
    admission = Admission(policy=Policy(members=frozenset({_A}), listed=True, denied=frozenset({_A})))
    assert admission.refusal(_A) == "denied"
    assert admission.refusal(_B) == "not_listed"


def test_the_nodes_own_key_is_never_refused() -> None:
    admission = Admission(_A, Policy(listed=True, denied=frozenset({_A})))
    assert admission.allows(_A)
    assert admission.refusal_of_new(_A, 0) == ""


@pytest.mark.parametrize(
    ("policy", "reason"),
    [(Policy(denied=frozenset({_A})), "denied"), (Policy(members=frozenset({_B}), listed=True), "not_listed")],
)
def test_logs_of_keys_that_are_not_admitted_are_refused_new_or_known(policy: Policy, reason: str) -> None:
    for held in ([], [_ANN[:2]]):
        logs, _ = _logs(policy, *held)
        assert _reasons(logs, _ANN) == [reason]
        assert _reasons(logs, _BOB) == ["taken"]


def test_what_is_refused_is_neither_missed_nor_asked_for() -> None:
    logs, admission = _logs(Policy(denied=frozenset({_A})))
    assert logs.offer(_ANN[3:]).gaps == [Gap(_ANN[0].log, 0, 2)], "nobody knows yet whose log it is"
    assert logs.refusal(_ANN[0].log, 0) == ""
    assert _reasons(logs, _ANN[:1]) == ["denied"]
    assert _reasons(logs, _ANN[3:]) == ["denied"]
    assert logs.refusal(_ANN[0].log, 0) == "denied"
    admission.policy = Policy()
    assert logs.refusal(_ANN[0].log, 0) == ""
    assert _reasons(logs, _ANN) == ["taken"]


def test_a_denied_log_is_held_but_not_offered_on() -> None:
    logs, admission = _logs(Policy(denied=frozenset({_A})), _ANN, _BOB)
    assert {state.public_key for state in logs.states()} == {_A, _B}
    assert {state.public_key for state in logs.offered()} == {_B}
    admission.policy = Policy()
    assert logs.offered() == logs.states()


def test_a_shortened_log_of_a_denied_key_is_not_adopted() -> None:
    hello, *_ = _ANN
    before = _ANN[2].head
    logs, admission = _logs(Policy(denied=frozenset({_A})))
    with pytest.raises(EntryError) as refused:
        logs.adopt(hello.log, before, [hello], _ANN[3:])
    assert refused.value.reason == "denied"
    admission.policy = Policy()
    assert logs.adopt(hello.log, before, [hello], _ANN[3:]) is not None


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEW_MEMBERS_BURST", 3)
    monkeypatch.setattr(limits, "NEW_MEMBERS_PER_HOUR", 2)


def test_so_many_new_members_at_once_and_then_so_many_an_hour(few: None) -> None:
    logs, _ = _logs(Policy())
    met = [_reasons(logs, log_of(f"n{number}", 1), 1_000) for number in range(5)]
    assert met == [["taken"]] * 3 + [["too_many_members"]] * 2
    assert _reasons(logs, log_of("n3", 1), _HOUR_MS // 2 - 1) == ["too_many_members"]
    assert _reasons(logs, log_of("n3", 1), _HOUR_MS // 2 + 1_001) == ["taken"]
    assert _reasons(logs, log_of("n4", 1), _HOUR_MS // 2 + 1_001) == ["too_many_members"]
    assert [_reasons(logs, log_of(f"m{number}", 1), 99 * _HOUR_MS) for number in range(4)] == (
        [["taken"]] * 3 + [["too_many_members"]]
    ), "a quiet time saves up no more than the burst"


def test_known_members_go_on_and_begin_epochs_when_there_is_no_room_for_new_ones(few: None) -> None:
    logs, _ = _logs(Policy())
    for number in range(3):
        assert _reasons(logs, log_of(f"n{number}", 1)) == ["taken"]
    assert _reasons(logs, _ANN) == ["too_many_members"]
    assert _reasons(logs, log_of("n0", 3)) == ["taken"]
    for epoch in range(1, 9):
        assert _reasons(logs, log_of("n0", 1, epoch=epoch)) == ["taken"]


def test_a_member_from_the_store_is_not_new_and_one_that_is_listed_costs_no_place(few: None) -> None:
    shelf = Shelf(*[log_of(f"n{number}", 1) for number in range(3)])
    admission = Admission(policy=Policy(members=frozenset({_A})))
    logs = Logs(MESH, NO_LOG, shelf.logs.states(), admission=admission)
    assert _reasons(logs, log_of("n0", 1, epoch=1)) == ["taken"]
    assert _reasons(logs, _ANN) == ["taken"]
    assert [_reasons(logs, log_of(f"m{number}", 1)) for number in range(4)] == [["taken"]] * 3 + [["too_many_members"]]


def test_an_epoch_that_pushes_out_its_members_oldest_is_no_new_member_and_one_that_is_denied_pushes_out_nothing(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EPOCHS_PER_KEY_MAX", 1)
    logs, admission = _logs(Policy(), *[log_of(owner, 2) for owner in ("ann", "bob", "cat")])
    assert _reasons(logs, log_of("dan", 1)) == ["too_many_members"]
    newer = log_of("ann", 2, epoch=1)
    taken = logs.offer(newer, _A)
    assert (taken.accepted, taken.dropped) == (newer, [log_of("ann", 1)[0].log])
    admission.policy = Policy(denied=frozenset({_A}))
    denied = logs.offer(log_of("ann", 2, epoch=2), _A)
    assert [each.reason for each in denied.refusals] == ["denied"]
    assert denied.dropped == []
    assert logs.get(newer[0].log) is not None


def test_what_is_not_rightly_signed_takes_nobodys_place(few: None) -> None:
    logs, _ = _logs(Policy())
    for number in range(9):
        forged = log_of(f"n{number}", 1, mesh_id=bytes(16))
        assert _reasons(logs, forged) == ["bad_signature"]
    assert [_reasons(logs, log_of(f"m{number}", 1)) for number in range(4)] == [["taken"]] * 3 + [["too_many_members"]]


def test_of_refused_logs_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURNED_AWAY_MAX", 2)
    logs, _ = _logs(Policy(denied=frozenset({_A})))
    epochs = [log_of("ann", 1, epoch=epoch) for epoch in range(3)]
    for epoch in epochs:
        assert _reasons(logs, epoch) == ["denied"]
    assert [logs.refusal(epoch[0].log, 0) for epoch in epochs] == ["", "denied", "denied"]


def test_an_event_that_forgets_reads_back_as_it_was_written() -> None:
    pen = Pen("ann")
    pen.hello()
    entry = pen.write(Kind.EVENT, Event("forget", "12D3KooWx", {"seq": "7", "log": "ab"}).payload())
    assert entry.payload == ["forget", "12D3KooWx", ["log", "ab", "seq", "7"]]
