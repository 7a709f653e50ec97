"""The date that `demesh.housekeeping` forgets by: a wall clock that jumps while the node runs makes it forget nothing early.

What is forgotten by which date is in `tests/log/test_retention.py`.
"""

import pytest

from demesh.housekeeping import Housekeeper, Retention
from demesh.log.chain import Logs
from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.history import Checkpointed
from tests.log.builders import MESH, NO_LOG, START_WALL_MS, DirectStorage, FakeClock

pytestmark = pytest.mark.trio
_HOURS_MS = 90 * DAY_MS
_MINUTE_MS = 60_000
_DRIFT_MS = _MINUTE_MS
"""By how much more than time the date may move between two looks: clocks are set right now and then."""


class _House:
    """A housekeeper that looks every ten minutes, and what it takes for the date."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.date_ms = 0
        self._keeper = Housekeeper(
            Retention(hours_ms=_HOURS_MS),
            DirectStorage(),
            Logs(MESH, NO_LOG),
            self,
            self.clock,
            lambda log, seq: (1, 1),
            lambda: 0,
            self._warn,
        )

    async def _warn(self, text: str) -> None:
        raise AssertionError(text)

    def checkpoint(self, public_key: bytes) -> Checkpointed | None:
        return None

    async def forget(self, open_before_ms: int, hours_before_ms: int) -> None:
        self.date_ms = hours_before_ms + _HOURS_MS

    async def ahead_ms(self, minutes: int) -> list[int]:
        """By how much the date was ahead of time, each time that it looked within the next minutes."""
        found: list[int] = []
        for _ in range(minutes // 10):
            self.clock.now_ms += 10 * _MINUTE_MS
            await self._keeper.tidy()
            found.append(self.date_ms - START_WALL_MS - self.clock.now_ms)
        return found


async def test_a_jump_ahead_and_back_moves_the_date_no_faster_than_time() -> None:
    house = _House()
    assert await house.ahead_ms(30) == [0, 0, 0]
    house.clock.ahead_ms = 400 * DAY_MS
    assert max(await house.ahead_ms(50)) <= 5 * _DRIFT_MS
    house.clock.ahead_ms = 0
    assert await house.ahead_ms(20) == [0, 0]


async def test_a_clock_that_jumps_ahead_again_and_again_is_never_believed() -> None:
    house = _House()
    for _ in range(20):
        house.clock.ahead_ms = 400 * DAY_MS
        assert max(await house.ahead_ms(50)) <= 5 * _DRIFT_MS
        house.clock.ahead_ms = 0
        assert await house.ahead_ms(10) == [0]


async def test_a_clock_that_stays_ahead_for_an_hour_is_believed() -> None:
    house = _House()
    house.clock.ahead_ms = 400 * DAY_MS
    ahead_ms = await house.ahead_ms(120)
    assert ahead_ms[-1] == 400 * DAY_MS
    believed = ahead_ms.index(400 * DAY_MS)
    assert HOUR_MS - 10 * _MINUTE_MS <= (believed + 1) * 10 * _MINUTE_MS <= HOUR_MS + 10 * _MINUTE_MS
    assert max(ahead_ms[:believed]) <= believed * _DRIFT_MS


async def test_a_clock_that_goes_back_forgets_less() -> None:
    house = _House()
    house.clock.ahead_ms = -DAY_MS
    assert await house.ahead_ms(20) == [-DAY_MS, -DAY_MS]
    house.clock.ahead_ms = 0
    ahead_ms = await house.ahead_ms(100)
    assert ahead_ms[0] < -DAY_MS // 2, "for all it can tell it has jumped ahead"
    assert ahead_ms[-1] == 0
