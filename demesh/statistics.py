"""A line of statistics every 30 seconds, for `demesh node run --stats`: the same numbers as `/metrics`, for the eye."""

import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from demesh.clock import Clock
from demesh.diagnostics import STATISTICS
from demesh.lateness import Lateness
from demesh.metrics import ENTRIES, ENTRIES_WRITTEN, PEERS, REFUSED, RESULTS, total

log = logging.getLogger(STATISTICS)
EVERY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been counted since the start; two of them make a line."""

    at_ms: int
    results: int
    entries_written: int
    entries_offered: int
    refused: int
    cpu_ms: int


async def tell_statistics(clock: Clock, lateness: Lateness, store_bytes: Callable[[], int]) -> None:
    """Log a line every EVERY_SECONDS until cancelled."""
    before = _totals(clock)
    while True:
        await trio.sleep(EVERY_SECONDS)
        after = _totals(clock)
        said = figures(before, after) | {
            "peers": int(total(PEERS)),
            "late_p99_ms": lateness.p99_ms(),
            "resident_bytes": _resident_bytes(),
            "store_bytes": store_bytes(),
        }
        log.info(sentence(said), extra=said)
        before = after


def figures(before: Totals, after: Totals) -> dict[str, float]:
    """Rates of the time between, and totals."""
    took_ms = max(1, after.at_ms - before.at_ms)
    return {
        "results_per_minute": round((after.results - before.results) * 60_000 / took_ms, 1),
        "results": after.results,
        "entries_written": after.entries_written,
        "entries_offered": after.entries_offered,
        "refused": after.refused,
        "cpu_percent": round((after.cpu_ms - before.cpu_ms) * 100 / took_ms, 1),
    }


def sentence(said: dict[str, float]) -> str:
    """The figures on one line."""
    return (
        f"{said['results_per_minute']:g} checks/min, {said['results']} results, {said['entries_written']} entries written, "
        f"{said['entries_offered']} offered, {said['refused']} refused, {said['peers']} peers, late p99 "
        f"{said['late_p99_ms']} ms, {_megabytes(said['resident_bytes'])} resident, {said['cpu_percent']:g} % CPU, "
        f"{_megabytes(said['store_bytes'])} stored"
    )


def _totals(clock: Clock) -> Totals:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Totals(
        at_ms=clock.monotonic_ms(),
        results=int(total(RESULTS)),
        entries_written=int(total(ENTRIES_WRITTEN)),
        entries_offered=int(total(ENTRIES)),
        refused=int(total(REFUSED)),
        cpu_ms=round((used.ru_utime + used.ru_stime) * 1_000),
    )


def _megabytes(count: float) -> str:
    return f"{count / 1_000_000:.1f} MB"


def _resident_bytes() -> int:
    """The second number of /proc/self/statm, in pages (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
