"""A day in which nothing works, in virtual time: the diagnostic log and the store stay within their bounds.

The day of a thousand checks a minute, 1.44 million runs, takes most of an hour: `python -m tests.a_day`.
"""

import pytest
from trio.testing import MockClock

from demesh.log.entry import Kind
from tests.a_day import HOUR_SECONDS, Size, spend
from tests.in_memory import directory_in_memory

pytestmark = [pytest.mark.trio, pytest.mark.slow]
_LOG_BYTES_MAX = 10_000_000
_DAY = Size(
    checks=1_000,
    interval_seconds=HOUR_SECONDS,
    flapping_seconds=2 * HOUR_SECONDS,
    look_seconds=900,
    store_bytes_max=20_000_000,
)


async def test_a_day_of_failures_stays_within_the_bounds_of_log_and_store(
    autojump_clock: MockClock,
) -> None:
    with directory_in_memory() as place:
        seen = await spend(_DAY, place)
    print(seen.sentence())
    assert seen.runs >= _DAY.checks / 2 * 1.25 * _DAY.hours
    assert seen.incidents == 1, "what a lone node alone sees fail together is told as one"
    assert 0 < seen.log_bytes < _LOG_BYTES_MAX
    assert seen.store_bytes_most <= _DAY.store_bytes_max
    assert seen.kinds[Kind.ROLLUP] > 0
    assert seen.kinds[Kind.CHECKPOINT] > 0
