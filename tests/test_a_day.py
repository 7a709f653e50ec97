"""A day in which nothing works, in virtual time: the diagnostic log and the store stay within their bounds.

The node is wired as it always is, with the diagnostic log of `demesh node run -v` on the same clock. Made cheaper than life: the
checks' interval, and how often all checks are looked at: by the lookout every quarter of an hour and
not also at each entry, by the historian every hour. The votes turn with every result, so no incident is spared.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from demesh import historian, lookout
from demesh.checks.check import Check
from demesh.config.load import Settings
from demesh.diagnostics import STATISTICS, set_up_logging
from demesh.errors import NetworkError
from demesh.home import bytes_on_disk
from demesh.log.entry import Entry, Kind
from demesh.mesh.memory import MemorySwarm
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.cluster import Member, running
from tests.log.builders import TrioClock

pytestmark = [pytest.mark.trio, pytest.mark.slow]
_CHECKS = 1_000
_DAY_SECONDS = 86_400
_LOG_BYTES_MAX = 10_000_000
_LOOK_SECONDS = 900
_INTERVAL_SECONDS = 3_600
_STORE_BYTES_MAX = 20_000_000


class _Unlucky(Member):
    """Every probe fails, for a reason that it tells; of the checks that flap every other run passes. Nobody can be alerted."""

    def __init__(self, place: Path, checks: list[Check], size_max_bytes: int) -> None:
        super().__init__(MemorySwarm(), place, "ann", checks, flush_seconds=60)
        assert isinstance(self.configured, Settings)
        self.configured = replace(self.configured, size_max_bytes=size_max_bytes)
        self.runs: Counter[str] = Counter()
        self._rng = random.Random(1)

    async def _probe(self, spec: ProbeSpec) -> ProbeResult:
        await trio.lowlevel.checkpoint()
        self.runs[spec.target] += 1
        if "flapping" in spec.target and self.runs[spec.target] % 2:
            return ProbeResult(Outcome.PASS, self._rng.randrange(1_000, 900_000))
        return ProbeResult(Outcome.FAIL, detail="the connection was closed before the answer was complete")

    async def _post(self, url: str, document: bytes) -> tuple[int, int | None]:
        await trio.lowlevel.checkpoint()
        raise NetworkError("connection refused")


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """What `demesh node run -v` says on standard error."""
    root, ours, stats = logging.getLogger(), logging.getLogger("demesh"), logging.getLogger(STATISTICS)
    before = root.handlers[:], root.level, ours.level, stats.level
    root.handlers = []
    path = tmp_path / "diagnostics"
    with path.open("w") as stream:
        set_up_logging(1, "text", TrioClock().monotonic_ms, stream)
        yield path
    root.handlers[:] = before[0]
    for logger, level in zip((root, ours, stats), before[1:], strict=True):
        logger.setLevel(level)


def _checks(flapping: int, interval_ms: int) -> list[Check]:
    kinds = ["flapping"] * flapping + ["failing"] * (_CHECKS - flapping)
    return [
        Check(
            f"{kind} {index}",
            ProbeSpec("http", f"https://{kind}{index}.example.org/health", 1_000),
            interval_ms=interval_ms * (2 if kind == "flapping" else 1),
            fail_after=1,
            recover_after=1,
        )
        for index, kind in enumerate(kinds)
    ]


async def test_a_day_of_failures_stays_within_the_bounds_of_log_and_store(
    autojump_clock: MockClock, tmp_path: Path, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "_LOOK_SECONDS", _LOOK_SECONDS)
    monkeypatch.setattr(lookout, "_STALL_MS", 2_000 * _LOOK_SECONDS)
    monkeypatch.setattr(historian, "_LOOK_BACK_MS_MIN", 3_600_000)
    monkeypatch.setattr(historian, "_FOLD_SECONDS", 60)
    monkeypatch.setattr(lookout.Lookout, "look_soon", lambda _: None)
    ann = _Unlucky(tmp_path, _checks(_CHECKS // 2, 1_000 * _INTERVAL_SECONDS), _STORE_BYTES_MAX)
    async with running(ann, seconds=2 * _DAY_SECONDS):
        await trio.sleep(_DAY_SECONDS)
        (state,) = ann.node.logs.states()
        kinds = Counter(entry.kind for entry in ann.store.each(state.log) if isinstance(entry, Entry))
        incidents = len(ann.incidents())
    logged = bytes_on_disk(log_file)
    stored = bytes_on_disk(tmp_path / "ann.db") + bytes_on_disk(tmp_path / "ann-view.db")
    print(
        f"{sum(ann.runs.values())} runs, {incidents} incidents open, {logged / 1e6:.2f} MB logged, {stored / 1e6:.2f} MB stored"
    )
    assert sum(ann.runs.values()) >= _CHECKS / 2 * 1.25 * _DAY_SECONDS / _INTERVAL_SECONDS
    assert incidents >= _CHECKS // 2
    assert 0 < logged < _LOG_BYTES_MAX
    assert stored < _STORE_BYTES_MAX
    assert kinds[Kind.ROLLUP] > 0
    assert kinds[Kind.CHECKPOINT] > 0
