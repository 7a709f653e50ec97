"""The messages of `/demesh/ask/1`, and how often one may ask."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.codec import Value, encode
from demesh.log.plan import PlanRow
from demesh.mesh.ask import (
    Message,
    No,
    Refused,
    Turnstile,
    answer,
    question,
    read_answer,
    read_question,
    refusal,
)
from demesh.outcome import Outcome, ProbeResult
from tests.log.builders import generated

_ROW = PlanRow(
    *("web", "http", "https://example.org/", bytes(16), False, 60_000, 10_000, 10_000, 2, 2, 0, "critical"),
    whole=True,
    keys=(("method", '"HEAD"'),),
)
_RESULT = ProbeResult(
    Outcome.MISMATCH, 12_300, "status is 503, not 200", {"dns": 100, "connect": 0}, 1_790_000_000, "2001:db8::7", 503
)


def test_questions_and_answers_survive_the_way() -> None:
    assert read_question(question(_ROW)) == _ROW
    assert read_answer(answer(_RESULT)) == _RESULT
    assert read_answer(answer(ProbeResult(Outcome.ERROR))) == ProbeResult(Outcome.ERROR)
    assert read_answer(refusal(Refused.RATE, "too often")) == No(Refused.RATE, "too often")


def test_what_only_the_prober_may_know_is_not_in_the_answer() -> None:
    told = answer(ProbeResult(Outcome.PASS, broken={"body": "sesame"}, facts={"http_version": "sesame"}))
    assert b"sesame" not in told


def test_a_later_version_may_say_more() -> None:
    assert read_answer(encode([2, 0, "", [], [], "", 0, 0, "more"])) == ProbeResult(Outcome.PASS)


@pytest.mark.parametrize(
    "message",
    [
        [],
        7,
        [Message.ASK, []],
        [2, 5, "", [], [], "", 0, 0],
        [2, 0, 7, [], [], "", 0, 0],
        [2, 0, "x" * 2_000, [], [], "", 0, 0],
        [2, 0, "", [1, 2], [], "", 0, 0],
        [2, 0, "", [], ["dns"], "", 0, 0],
        [2, 0, "", [], ["dns", "x"], "", 0, 0],
        [2, 0, "", [], ["x", 1] * 17, "", 0, 0],
        [2, 0, "", [], [], "x" * 65, 0, 0],
        [2, 0, "", [], [], "", 1_000, 0],
        [2, 0, "", [], [], "", 0, 2**60],
        [3, 1],
        [4, 1, ""],
    ],
)
def test_an_answer_out_of_shape_is_refused(message: Value) -> None:
    with pytest.raises((EntryError, SyncError)):
        read_answer(encode(message))


@generated
@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    for read in (read_question, read_answer):
        with suppress(EntryError, SyncError):
            read(data)


def test_a_member_may_ask_so_often_a_minute_and_so_many_at_once() -> None:
    gate = Turnstile()
    for _ in range(limits.ASKED_AT_ONCE_PER_MEMBER_MAX):
        assert gate.enter(b"a", 0) is None
    assert gate.enter(b"a", 0) == "member_busy"
    gate.leave(b"a")
    for _ in range(limits.ASKED_PER_MEMBER_PER_MINUTE_MAX - limits.ASKED_AT_ONCE_PER_MEMBER_MAX):
        assert gate.enter(b"a", 1) is None
        gate.leave(b"a")
    assert gate.enter(b"a", 59_999) == "member_rate"
    assert gate.enter(b"b", 59_999) is None
    assert gate.enter(b"a", 60_000) is None


def test_all_together_may_ask_so_often_and_so_many_at_once() -> None:
    gate = Turnstile()
    for n in range(limits.ASKED_AT_ONCE_MAX):
        assert gate.enter(bytes([n]), 0) is None
    assert gate.enter(b"x", 0) == "busy"
    for n in range(limits.ASKED_AT_ONCE_MAX):
        gate.leave(bytes([n]))
    for n in range(limits.ASKED_PER_MINUTE_MAX - limits.ASKED_AT_ONCE_MAX):
        assert gate.enter(bytes([100 + n]), 1) is None
        gate.leave(bytes([100 + n]))
    assert gate.enter(b"x", 2) == "rate"
