"""The estimate of a day's log against a day that is run through the schedule, the batches and the real encoding."""

import heapq
import random

import pytest
from nacl.signing import SigningKey

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.schedule import first_run_ms
from demesh.config.estimate import estimate
from demesh.log.batch import Batch
from demesh.log.entry import Kind
from demesh.log.head import Head
from demesh.log.results import Result, Results
from demesh.log.writer import Writer
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec

_DAY_MS = 86_400_000


def _latency_ms(rng: random.Random) -> int:
    """33 ms in the middle, now and then much more."""
    return round(rng.lognormvariate(3.5, 0.8))


def _bytes_of_a_day(intervals_ms: list[int], flush_interval_ms: int) -> int:
    """The size of all entries of a day on which every check passes, on a machine that has been up for a month."""
    rng = random.Random(1)
    begin_ms, wall_ms = 30 * _DAY_MS, 1_790_000_000_000
    writer = Writer(SigningKey(bytes(32)), bytes(16), bytes(8), bytes(16), Head(0, bytes([1]) * 32))
    batch = Batch(flush_interval_ms, begin_ms)
    told_ms = [-limits.CERTIFICATE_EXPIRY_REPEAT_MS] * len(intervals_ms)
    phases = [first_run_ms(begin_ms, index, len(intervals_ms), each) for index, each in enumerate(intervals_ms)]
    ends = [(phase + _latency_ms(rng), index) for index, phase in enumerate(phases)]
    heapq.heapify(ends)
    size, now_ms = 0, begin_ms
    while now_ms < begin_ms + _DAY_MS:
        if ends[0][0] > batch.due_ms:
            now_ms = batch.due_ms
            payload = Results(1, batch.take(now_ms)).payload(now_ms)
            entry = writer.write(
                Kind.RESULTS, payload, wall_ms=wall_ms + now_ms, up_ms=now_ms, next_ms=batch.promise_ms
            )
            size += entry.size
            continue
        now_ms, index = heapq.heappop(ends)
        tell = now_ms - told_ms[index] >= limits.CERTIFICATE_EXPIRY_REPEAT_MS
        told_ms[index] = now_ms if tell else told_ms[index]
        result = Result(
            index,
            now_ms,
            Outcome.PASS,
            _latency_ms(rng) * 1_000,
            certificate_expires_s=1_800_000_000 if tell else None,
            address="203.0.113.77" if tell else None,
        )
        batch.add(result, now_ms, urgent=False)
        following = phases[index] + ((now_ms - phases[index]) // intervals_ms[index] + 1) * intervals_ms[index]
        heapq.heappush(ends, (following + _latency_ms(rng), index))
    return size


@pytest.mark.parametrize(
    ("intervals_ms", "flush_interval_ms"),
    [
        ([60_000], 10_000),
        ([60_000] * 20, 10_000),
        ([60_000] * 20, 60_000),
        ([30_000] * 40 + [300_000] * 10, 10_000),
        ([60_000] * 200, 10_000),
        ([5_000] * 30, 10_000),
    ],
    ids=["one check", "twenty", "twenty, flushed seldom", "mixed", "two hundred", "often"],
)
@pytest.mark.slow
def test_the_estimate_is_within_a_quarter_of_a_simulated_day(intervals_ms: list[int], flush_interval_ms: int) -> None:
    checks = [Check(str(index), ProbeSpec("http", "", 1_000), each) for index, each in enumerate(intervals_ms)]
    estimated = estimate(checks, flush_interval_ms).log_bytes_per_day
    real = _bytes_of_a_day(intervals_ms, flush_interval_ms)
    print(f"{len(checks)} checks: estimated {estimated}, real {real}, ratio {estimated / real:.2f}")
    assert 0.75 * real <= estimated <= 1.25 * real


def test_checks_a_minute_are_those_of_all_intervals() -> None:
    checks = [Check(str(each), ProbeSpec("http", "", 1_000), each) for each in (60_000, 30_000, 300_000)]
    assert estimate(checks, 10_000).checks_per_minute == pytest.approx(3.2)
    assert estimate([], 10_000).checks_per_minute == 0
