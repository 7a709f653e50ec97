"""Uptime: how much of a period a check was up, as far as anybody looked. Pure.

    ratio = up / (up + down)            of the time that was observed, over all vantages; none if nothing was
    coverage = observed / period        observed: by at least one vantage, in each hour as much as the one that saw most

What nobody observed is neither up nor down: it only lowers the coverage. Periods end now and begin at a full hour (24 h, 7 d),
a full day, UTC (30 d, 365 d), or at a slot of five minutes (1 h), so a period is up to one such step shorter than its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from demesh.log.sums import DAY_MS, HOUR_MS, quantile
from demesh.view.history import SLOT_MS, LogHistory
from demesh.view.hours import Hours, hours_of

WINDOWS = {"1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "365d": 365 * DAY_MS}
"""By name, in milliseconds."""
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_LATENCY_UNITS_PER_MS = 10


class Observed(NamedTuple):
    """How much of a period was up, down, and seen by at least one vantage; up and down are sums over all vantages."""

    up_ms: int = 0
    down_ms: int = 0
    seen_ms: int = 0


@dataclass(frozen=True, slots=True)
class Uptime:
    """`ratio` and `coverage` lie between 0 and 1; `ratio` is None when nothing was observed."""

    ratio: float | None
    coverage: float


@dataclass(slots=True)
class Past:
    """What is known of a check's past. Uptime by window; quantiles of the latency in the last 24 h, in milliseconds; those 24 h
    by the hour, None if nothing was observed in them.
    """

    uptime: dict[str, Uptime] = field(default_factory=dict[str, Uptime])
    latency_ms: dict[str, float] = field(default_factory=dict[str, float])
    hours: Hours | None = None


class SignedHistory(Protocol):
    """See `demesh.view.history_store.HistoryStore`."""

    def hours(self, first_ms: int, end_ms: int) -> dict[str, Observed]: ...

    def days(self, first_ms: int, end_ms: int) -> dict[str, Observed]: ...

    def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]: ...

    def histograms(self, first_ms: int) -> dict[str, dict[int, int]]: ...


class OpenHour(NamedTuple):
    """One row of a log's open hours, as it was when it was taken."""

    public_key: bytes
    name: str
    start_ms: int
    up_ms: int
    down_ms: int
    histogram: Mapping[int, int]


class OpenSlot(NamedTuple):
    public_key: bytes
    name: str
    start_ms: int
    up_ms: int
    down_ms: int


@dataclass(frozen=True, slots=True)
class OpenHistory:
    """A copy of what is open, so that another thread can read it while folding goes on."""

    hours: tuple[OpenHour, ...]
    slots: tuple[OpenSlot, ...]

    @classmethod
    def of(cls, logs: Iterable[LogHistory]) -> "OpenHistory":
        hours: list[OpenHour] = []
        slots: list[OpenSlot] = []
        for log in logs:
            key = log.public_key
            hours += (
                OpenHour(key, name, hour * HOUR_MS, sums.up_ms, sums.down_ms, dict(sums.histogram))
                for hour, rows in log.open.items()
                for name, sums in rows.items()
            )
            slots += (
                OpenSlot(key, name, slot * SLOT_MS, up_ms, down_ms)
                for slot, rows in log.slots.items()
                for name, (up_ms, down_ms) in rows.items()
            )
        return cls(tuple(hours), tuple(slots))


def look_back(signed: SignedHistory, open_: OpenHistory, now_ms: int) -> dict[str, Past]:
    """The past of every check, at `now_ms` (Unix time)."""
    past: dict[str, Past] = {}
    for window, length_ms in WINDOWS.items():
        if length_ms == HOUR_MS:
            first_ms = _next_multiple(now_ms - length_ms, SLOT_MS)
            observed = _add_open({}, {}, _since(open_.slots, first_ms, now_ms))
        elif length_ms == DAY_MS:
            first_ms = _next_multiple(now_ms - length_ms, HOUR_MS)
            by_hour = _by_hour(signed, open_, first_ms, now_ms)
            observed = _summed(by_hour)
            for name, hours in hours_of(by_hour, first_ms, now_ms).items():
                past.setdefault(name, Past()).hours = hours
        elif length_ms <= 7 * DAY_MS:
            first_ms = _next_multiple(now_ms - length_ms, HOUR_MS)
            hours = _since(open_.hours, first_ms, now_ms)
            also = {start: signed.hours(start, start + HOUR_MS) for start in {each.start_ms for each in hours}}
            observed = _add_open(signed.hours(first_ms, now_ms), also, hours)
        else:
            first_ms = _next_multiple(now_ms - length_ms, DAY_MS)
            done = signed.days_signed(first_ms, now_ms)
            hours = [
                each
                for each in _since(open_.hours, first_ms, now_ms)
                if (each.public_key, each.name, each.start_ms - each.start_ms % DAY_MS) not in done
            ]
            also = {start: signed.hours(start, start + HOUR_MS) for start in {each.start_ms for each in hours}}
            observed = _add_open(signed.days(first_ms, now_ms), also, hours)
        for name, each in observed.items():
            watched_ms = each.up_ms + each.down_ms
            past.setdefault(name, Past()).uptime[window] = Uptime(
                each.up_ms / watched_ms if watched_ms else None, min(1.0, each.seen_ms / max(1, now_ms - first_ms))
            )
    _add_latencies(past, signed, open_, now_ms)
    return past


def _by_hour(signed: SignedHistory, open_: OpenHistory, first_ms: int, now_ms: int) -> list[dict[str, Observed]]:
    """What was observed in each hour from `first_ms` on, by check."""
    found: list[dict[str, Observed]] = []
    for start_ms in range(first_ms, now_ms, HOUR_MS):
        observed = signed.hours(start_ms, start_ms + HOUR_MS)
        rows = [each for each in open_.hours if each.start_ms == start_ms]
        found.append(_add_open(dict(observed), {start_ms: observed}, rows))
    return found


def _summed(hours: Iterable[Mapping[str, Observed]]) -> dict[str, Observed]:
    found: dict[str, Observed] = {}
    for hour in hours:
        for name, each in hour.items():
            before = found.get(name, Observed())
            found[name] = Observed(*map(sum, zip(before, each, strict=True)))
    return found


def _add_latencies(past: dict[str, Past], signed: SignedHistory, open_: OpenHistory, now_ms: int) -> None:
    first_ms = _next_multiple(now_ms - DAY_MS, HOUR_MS)
    histograms = signed.histograms(first_ms)
    for each in _since(open_.hours, first_ms, now_ms):
        into = histograms.setdefault(each.name, {})
        for bucket, number in each.histogram.items():
            into[bucket] = into.get(bucket, 0) + number
    for name, histogram in histograms.items():
        for label, fraction in _QUANTILES.items():
            latency = quantile(histogram, fraction)
            if latency is not None:
                past.setdefault(name, Past()).latency_ms[label] = latency / _LATENCY_UNITS_PER_MS


_Open = OpenHour | OpenSlot
_Row = TypeVar("_Row", OpenHour, OpenSlot)


def _since(rows: Iterable[_Row], first_ms: int, now_ms: int) -> list[_Row]:
    return [each for each in rows if first_ms <= each.start_ms < now_ms]


def _add_open(
    signed: dict[str, Observed], also_signed: Mapping[int, Mapping[str, Observed]], rows: Iterable[_Open]
) -> dict[str, Observed]:
    """`signed` and what is open beside it. `also_signed` has the signed part of each period that has an open one."""
    by_vantage: dict[tuple[str, int], dict[bytes, list[int]]] = {}
    for each in rows:
        spans = by_vantage.setdefault((each.name, each.start_ms), {}).setdefault(each.public_key, [0, 0])
        spans[0] += each.up_ms
        spans[1] += each.down_ms
    for (name, start_ms), vantages in by_vantage.items():
        up_ms, down_ms = map(sum, zip(*vantages.values(), strict=True))
        most_ms = max(map(sum, vantages.values()))
        seen_ms = max(0, most_ms - also_signed.get(start_ms, {}).get(name, Observed()).seen_ms)
        before = signed.get(name, Observed())
        signed[name] = Observed(before.up_ms + up_ms, before.down_ms + down_ms, before.seen_ms + seen_ms)
    return signed


def _next_multiple(time_ms: int, step_ms: int) -> int:
    return -(-time_ms // step_ms) * step_ms
