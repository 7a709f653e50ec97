"""`python -m tests.a_day`: a day, in virtual time, of a node whose checks all fail; what it writes, and how much it keeps.

The node is wired as it always is, with the diagnostic log of `demesh node run -v` on the same clock. Every second check flaps:
each of its runs turns its vote, is an entry of its own, and opens or closes an incident. Nobody can be alerted. What is looked
at seldom instead of often costs time and changes neither the log, which is bounded per minute, nor the store: the lookout
looks once per `look_seconds` and not also at each entry, the historian looks back every hour.
"""

import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import click
import trio
from trio.testing import MockClock

from demesh import historian, lookout
from demesh.checks.check import Check
from demesh.config.duration import parse_duration
from demesh.config.load import Settings
from demesh.diagnostics import STATISTICS, set_up_logging
from demesh.errors import NetworkError
from demesh.home import bytes_on_disk
from demesh.log.entry import Entry, Kind
from demesh.mesh.memory import MemorySwarm
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.view import listening
from tests.cluster import Member, running
from tests.log.builders import TrioClock

HOUR_SECONDS = 3_600
_SAMPLE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Size:
    """Of what is simulated. The failing checks run every `interval_seconds`, the flapping ones every `flapping_seconds`."""

    checks: int
    interval_seconds: int
    flapping_seconds: int
    look_seconds: int
    store_bytes_max: int
    hours: int = 24
    wall_seconds_max: float = float("inf")
    """Stop then, wherever the day is."""


@dataclass(frozen=True, slots=True)
class Seen:
    hours: float
    runs: int
    incidents: int
    log_bytes: int
    store_bytes: int
    store_bytes_most: int
    """What the files of log and history came to, looked at every minute."""
    with_wal_bytes_most: int
    """With their write-ahead logs."""
    kinds: Counter[int]

    def sentence(self) -> str:
        kinds = ", ".join(f"{count} {Kind(kind).name.lower()}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{self.hours:.1f} h: {self.runs} runs, {self.incidents} incidents open, {self.log_bytes / 1e6:.2f} MB logged, "
            f"{self.store_bytes / 1e6:.2f} MB stored, {self.store_bytes_most / 1e6:.2f} MB at most, "
            f"{self.with_wal_bytes_most / 1e6:.2f} MB with write-ahead logs; entries kept: {kinds}"
        )


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


async def spend(size: Size, place: Path) -> Seen:
    """Spend the day; files are made in `place`. Run it on a clock that jumps."""
    ann = _Unlucky(place, _checks(size), size.store_bytes_max)
    stores, log_file = (place / "ann.db", place / "ann-view.db"), place / "diagnostics"
    most = with_wal_most = 0
    began, ends = trio.current_time(), time.monotonic() + size.wall_seconds_max
    with _seldom_looking(size.look_seconds), _diagnostics(log_file):
        async with running(ann, seconds=2 * HOUR_SECONDS * size.hours):
            until = began + HOUR_SECONDS * size.hours
            while trio.current_time() < until and time.monotonic() < ends:
                await trio.sleep(_SAMPLE_SECONDS)
                most = max(most, sum(path.stat().st_size for path in stores if path.exists()))
                with_wal_most = max(with_wal_most, sum(map(bytes_on_disk, stores)))
            hours = (trio.current_time() - began) / HOUR_SECONDS
            (state,) = ann.node.logs.states()
            kinds = Counter(entry.kind for entry in ann.store.each(state.log) if isinstance(entry, Entry))
            incidents = len(ann.incidents())
    stored = sum(map(bytes_on_disk, stores))
    most = max(most, stored)
    return Seen(hours, sum(ann.runs.values()), incidents, bytes_on_disk(log_file), stored, most, with_wal_most, kinds)


def _checks(size: Size) -> list[Check]:
    kinds = [("flapping", size.flapping_seconds)] * (size.checks // 2)
    kinds += [("failing", size.interval_seconds)] * (size.checks - len(kinds))
    return [
        Check(
            f"{kind} {index}",
            ProbeSpec("http", f"https://{kind}{index}.example.org/health", 1_000),
            interval_ms=1_000 * seconds,
            fail_after=1,
            recover_after=1,
        )
        for index, (kind, seconds) in enumerate(kinds)
    ]


@contextmanager
def _seldom_looking(look_seconds: int) -> Generator[None]:
    with (
        patch.object(lookout, "_LOOK_SECONDS", look_seconds),
        patch.object(listening, "_STALL_MS", 2_000 * look_seconds),
        patch.object(lookout.Lookout, "look_soon", lambda _: None),
        patch.object(historian, "_LOOK_BACK_MS_MIN", 1_000 * HOUR_SECONDS),
        patch.object(historian, "_FOLD_SECONDS", 900),
    ):
        yield


@contextmanager
def _diagnostics(path: Path) -> Generator[None]:
    """What `demesh node run -v` says on standard error goes to the file at `path`."""
    root, ours, stats = logging.getLogger(), logging.getLogger("demesh"), logging.getLogger(STATISTICS)
    before = root.handlers[:], root.level, ours.level, stats.level
    root.handlers = []
    try:
        with path.open("w") as stream:
            set_up_logging(1, "text", TrioClock().monotonic_ms, stream)
            yield
    finally:
        root.handlers[:] = before[0]
        for logger, level in zip((root, ours, stats), before[1:], strict=True):
            logger.setLevel(level)


@click.command()
@click.option("--checks", default=1_000, show_default=True)
@click.option("--interval", default="60s", show_default=True, help="Of every check.")
@click.option("--hours", default=24, show_default=True)
@click.option("--store", "store_mb", default=100, show_default=True, help="Size budget of the store, in MB.")
@click.option("--within", default="45m", show_default=True, help="Stop after so much real time.")
def main(checks: int, interval: str, hours: int, store_mb: int, within: str) -> None:
    """Spend a day of failures and say what it left behind. Exit code 1 if that is more than was promised."""
    seconds = parse_duration(interval) // 1_000
    size = Size(checks, seconds, seconds, 60, store_mb * 1_000_000, hours, parse_duration(within) / 1_000)
    began = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="demesh-day-") as place:
        seen = trio.run(spend, size, Path(place), clock=MockClock(autojump_threshold=0))
    click.echo(seen.sentence())
    click.echo(f"{time.monotonic() - began[0]:.0f} s of real time, {time.process_time() - began[1]:.0f} s of CPU time")
    raise SystemExit(seen.log_bytes >= 10_000_000 or seen.store_bytes_most > size.store_bytes_max)


if __name__ == "__main__":
    main()
