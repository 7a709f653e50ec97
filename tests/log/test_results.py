import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Value, decode, encode
from demesh.log.results import Result, Results, read_results
from demesh.outcome import Outcome
from tests.log.builders import generated

_UP_MS = 10_000_000


def _through_the_wire(results: Results, entry_up_ms: int = _UP_MS) -> Results:
    return read_results(decode(encode(results.payload(entry_up_ms))), entry_up_ms)


_RESULTS = st.lists(
    st.builds(
        Result,
        check=st.integers(0, limits.CHECKS_MAX),
        up_ms=st.integers(0, _UP_MS),
        outcome=st.sampled_from(Outcome),
        latency_us=st.none() | st.integers(1, 10_000).map(lambda units: 100 * units),
        detail=st.text(max_size=50),
        certificate_expires_s=st.none() | st.integers(0, 2**40),
        address=st.none() | st.text(max_size=64),
        lateness_ms=st.integers(0, 2**40),
        other_address=st.none() | st.text(max_size=64),
    ),
    max_size=20,
).map(lambda found: tuple(sorted(found, key=lambda each: each.up_ms)))


@generated
@given(st.integers(0, limits.SEQ_MAX), _RESULTS)
def test_results_survive_their_entry_with_all_details(plan_seq: int, results: tuple[Result, ...]) -> None:
    assert _through_the_wire(Results(plan_seq, results)) == Results(plan_seq, results)


@pytest.mark.parametrize(
    ("latency_us", "kept_us"), [(None, None), (0, 100), (1, 100), (149, 100), (151, 200), (10**12, 300_000_000)]
)
def test_latency_is_kept_to_a_tenth_of_a_millisecond(latency_us: int | None, kept_us: int | None) -> None:
    result = Result(0, 0, Outcome.PASS, latency_us)
    assert _through_the_wire(Results(0, (result,))).results[0].latency_us == kept_us


def test_certificate_that_expired_before_1970_is_an_expired_one() -> None:
    result = Result(0, 0, Outcome.PASS, certificate_expires_s=-5)
    assert _through_the_wire(Results(0, (result,))).results[0].certificate_expires_s == 0


def test_long_detail_is_cut_to_what_may_travel() -> None:
    result = Result(0, 0, Outcome.FAIL, detail="ü" * 500)
    (kept,) = _through_the_wire(Results(0, (result,))).results
    assert kept.detail == "ü" * 98 + "…"
    assert len(kept.detail.encode()) <= limits.DETAIL_BYTES_MAX


@generated
@given(st.text(alphabet=st.characters(), min_size=1, max_size=10), st.integers(1, 100))
def test_any_detail_travels_as_a_beginning_of_itself(text: str, times: int) -> None:
    """Whatever a target sends ends up here, lone surrogates included."""
    (kept,) = _through_the_wire(Results(0, (Result(0, 0, Outcome.FAIL, detail=text * times),))).results
    readable = (text * times).encode("utf-8", "replace").decode()
    assert len(kept.detail.encode()) <= limits.DETAIL_BYTES_MAX
    assert kept.detail == readable or (kept.detail[-1] == "…" and readable.startswith(kept.detail[:-1]))


def _payload(**changes: Value) -> Value:
    good: dict[str, Value] = {
        "plan": 1,
        "times": [500, 100],
        "checks": [0, 1],
        "outcomes": bytes([0, 1]),
        "latencies": [10, 0],
        "details": [[1, 0, "refused"]],
    }
    return list((good | changes).values())


_READ = Results(1, (Result(0, 500, Outcome.PASS, 1_000), Result(1, 600, Outcome.FAIL, None, "refused")))


def test_columns_are_read_together() -> None:
    assert read_results(_payload(), 1_000) == _READ


def test_the_other_address_of_a_server_is_field_4() -> None:
    (_, last) = read_results(_payload(details=[[1, 0, "refused"], [1, 4, "192.0.2.8:3479"]]), 1_000).results
    assert last == _READ.results[1]._replace(other_address="192.0.2.8:3479")


def test_details_of_a_later_version_are_skipped() -> None:
    details: Value = [[0, 5, "phases"], [1, 0, "refused", "more"], [1, 60_000, [1, [2]]]]
    assert read_results(_payload(details=details, more="more"), 1_000) == _READ


def test_outcome_of_a_later_version_blames_nobody() -> None:
    (first, _) = read_results(_payload(outcomes=bytes([9, 1])), 1_000).results
    assert first == _READ.results[0]._replace(outcome=Outcome.ERROR)


@pytest.mark.parametrize(
    "changes",
    [
        {"times": [500]},
        {"checks": [0, 1, 2]},
        {"outcomes": bytes(3)},
        {"latencies": []},
        {"times": [1_001, 0]},
        {"times": [500, 501]},
        {"times": [500, b""]},
        {"checks": [0, limits.CHECKS_MAX + 1]},
        {"outcomes": [0, 1]},
        {"latencies": [0, 3_000_001]},
        {"details": [[2, 0, "of a third result"]]},
        {"details": [[0, 0, "d" * 201]]},
        {"details": [[0, 1, "soon"]]},
        {"details": [[0, 2, b"\0\0\0\0"]]},
        {"details": [[0, 3]]},
        {"details": [[0, 4, 3479]]},
        {"details": [[0, 4, "1" * 65]]},
        {"details": [7]},
        {"plan": b""},
        {"times": [0] * 257, "checks": [0] * 257, "outcomes": bytes(257), "latencies": [0] * 257, "details": []},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_refused(changes: dict[str, Value]) -> None:
    with pytest.raises(EntryError) as refused:
        read_results(_payload(**changes), 1_000)
    assert refused.value.reason == "shape"


def test_as_many_results_as_allowed_are_read() -> None:
    most = limits.RESULTS_PER_ENTRY_MAX
    results = Results(0, tuple(Result(0, 0, Outcome.PASS) for _ in range(most)))
    assert _through_the_wire(results) == results
