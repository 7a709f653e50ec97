"""The promises of `demesh.log.sums`, and of the payloads that carry sums: rollups, checkpoints; and of events."""

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError
from demesh.log.checkpoint import checkpoint_payloads, read_checkpoint_part
from demesh.log.codec import Value, decode, encode
from demesh.log.entry import NO_HASH, Kind, encode_body
from demesh.log.event import Event, read_event
from demesh.log.head import Head
from demesh.log.rollup import read_rollup, rollup_payloads
from demesh.log.state import LogState
from demesh.log.sums import Sums, bucket_of, bucket_start, quantile, read_sums
from demesh.outcome import Outcome
from tests.log.builders import BOOT8, fields_of, generated

_results = st.lists(
    st.tuples(st.sampled_from(Outcome), st.none() | st.integers(1, 300_000_000), st.integers(0, 60_000), st.booleans()),
    max_size=30,
)


def _sums(results: list[tuple[Outcome, int | None, int, bool]]) -> Sums:
    sums = Sums()
    for outcome, latency_us, span_ms, up in results:
        sums.count(outcome, latency_us)
        sums.up_ms += span_ms * up
        sums.down_ms += span_ms * (not up)
    return sums


def _fits_an_entry(kind: Kind, payload: Value) -> None:
    encode_body(bytes(16), 1, bytes(31) + b"x", 0, 0, BOOT8, 1, kind, payload)
    decode(encode_body(bytes(16), 0, NO_HASH, 0, 0, BOOT8, 1, kind, payload))


@generated
@given(_results)
def test_what_was_written_is_read(results: list) -> None:
    sums = _sums(results)
    assert read_sums(decode(encode(sums.columns()))) == sums


@generated
@given(_results, st.integers(0, 30))
def test_sums_of_parts_add_up_to_the_sums_of_all(results: list, cut: int) -> None:
    parts = _sums(results[:cut])
    parts.add(_sums(results[cut:]))
    assert parts == _sums(results)
    assert encode(parts.columns()) == encode(_sums(results).columns())


def test_a_result_counts_under_its_outcome_and_latency() -> None:
    sums = _sums(
        [(Outcome.PASS, 1_000, 50, True), (Outcome.MISMATCH, 3_000, 20, False), (Outcome.ERROR, None, 0, True)]
    )
    assert sums.columns() == [[1, 0, 1, 0, 1], 50, 20, [40, 10, 30], [bucket_of(10), 1, bucket_of(30), 1]]


def test_buckets_lie_side_by_side_and_are_an_eighth_wide() -> None:
    starts = [bucket_start(bucket) for bucket in range(8, 180)]
    assert all(1 < after / before <= 1.125 for before, after in pairwise(starts))
    for latency in range(1, 5_000):
        bucket = bucket_of(latency)
        assert bucket_start(bucket) <= latency < bucket_start(bucket + 1)


@generated
@given(st.lists(st.integers(100, 10_000_000), min_size=20, max_size=200))
def test_a_quantile_is_off_by_less_than_an_eighth(latencies_us: list[int]) -> None:
    sums = Sums()
    for latency_us in latencies_us:
        sums.count(Outcome.PASS, latency_us)
    exact = sorted(each // 100 for each in latencies_us)
    found = quantile(sums.histogram, 0.5)
    assert found is not None
    low, high = exact[(len(exact) - 1) // 2], exact[len(exact) // 2]
    assert low / 1.126 - 1 <= found <= high * 1.126 + 1, statistics.median(exact)


def test_no_results_have_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [[1, 0, 0, 0], 0, 0, [], []],  # an outcome is missing
        [[1, 0, 0, 0, 0], 0, 0, [1, 1, 1], []],
        [[1, 0, 0, 0, 0], 0, 0, [], [3, 1]],
        [[1, 0, 0, 0, 0], 0, 0, [1, 1, 1], [3]],
        [[1, 0, 0, 0, 0], 0, 0, [1, 1, 1], [3, 1, 3, 1]],
        [[1, 0, 0, 0, 0], 0, 0, [1, 1, 1], [10_000, 1]],
        [[2**40, 0, 0, 0, 0], 0, 0, [], []],
        [[1, 0, 0, 0, 0], 2**60, 0, [], []],
        "text",
    ],
)
def test_bad_sums_are_refused(columns: Value) -> None:
    with pytest.raises(EntryError):
        read_sums(columns)


def test_outcomes_of_a_later_version_blame_nobody() -> None:
    sums = read_sums([[1, 0, 0, 0, 0, 7], 5, 0, [], [], "a field of a later version"])
    assert sums.counts == [1, 0, 0, 0, 7]


def test_rollup_of_many_checks_takes_several_entries_each_of_which_fits() -> None:
    sums = {
        f"check number {index}": _sums([(Outcome.PASS, 100 * 2**n, 60_000, True) for n in range(20)])
        for index in range(1_000)
    }
    payloads = rollup_payloads(472_222, sums)
    assert len(payloads) > 1
    read = {}
    for payload in payloads:
        _fits_an_entry(Kind.ROLLUP, payload)
        rollup = read_rollup(payload)
        assert rollup.hour == 472_222
        assert not read.keys() & rollup.rows.keys()
        read.update(rollup.rows)
    assert read == sums
    assert rollup_payloads(472_222, {}) == []


def test_check_that_occurs_twice_in_a_rollup_is_refused() -> None:
    (payload,) = rollup_payloads(1, {"web": Sums()})
    hour, rows = fields_of(payload)
    with pytest.raises(EntryError):
        read_rollup([hour, [*fields_of(rows), *fields_of(rows)]])


def test_checkpoint_tells_its_day_its_predecessor_and_all_heads_in_parts_that_fit() -> None:
    sums = {f"check number {index}": _sums([(Outcome.PASS, 1_000, 60_000, True)]) for index in range(800)}
    held = [LogState(bytes([n % 256, n // 256]) * 8, bytes(32), Head(n, bytes([n % 251]) * 32)) for n in range(900)]
    previous = (bytes(16), Head(77, bytes(range(32))))
    payloads = checkpoint_payloads(19_675, previous, sums, held)
    parts = [read_checkpoint_part(payload) for payload in payloads]
    for payload in payloads:
        _fits_an_entry(Kind.CHECKPOINT, payload)
    assert [(each.part, each.parts) for each in parts] == [(n, len(parts)) for n in range(len(parts))]
    assert len(parts) > 4
    assert {each.day for each in parts} == {19_675}
    assert {each.previous for each in parts} == {previous}
    assert {name: row for each in parts for name, row in each.rows.items()} == sums
    witnesses = [witness for each in parts for witness in each.vector]
    assert [(w.log, w.seq, w.hash16) for w in witnesses] == sorted((s.log, s.head.seq, s.head.hash[:16]) for s in held)


def test_first_checkpoint_of_a_lonely_node_that_checks_nothing() -> None:
    (payload,) = checkpoint_payloads(3, None, {}, [])
    part = read_checkpoint_part(payload)
    assert (part.part, part.parts, part.day, part.previous, part.rows, part.vector) == (0, 1, 3, None, {}, ())


@pytest.mark.parametrize(
    "payload", [[], [0, 0, 1, [], [], []], [1, 1, 1, [], [], []], [0, 1, 1, [1], [], []], [0, 1, 1, [], [[]], []]]
)
def test_bad_checkpoints_are_refused(payload: Value) -> None:
    with pytest.raises(EntryError):
        read_checkpoint_part(payload)


def test_event_is_read_as_written() -> None:
    event = Event("warning", "retention", {"text": "the store is full", "since": "now"})
    payload = event.payload()
    _fits_an_entry(Kind.EVENT, payload)
    assert read_event(decode(encode(payload))) == event
    assert read_event([*fields_of(payload), "a field of a later version"]) == event


@pytest.mark.parametrize(
    "payload", [[], ["", "x", []], ["a", "b", ["k"]], ["a", "b", [1]], ["a" * (limits.NAME_CHARS_MAX + 1), "b", []]]
)
def test_bad_events_are_refused(payload: Value) -> None:
    with pytest.raises(EntryError):
        read_event(payload)
