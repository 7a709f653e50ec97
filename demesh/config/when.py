"""When maintenance is: `Sun 02:00-04:00 Europe/Berlin`, `Mon-Fri 22:00-23:30 UTC`, `daily 03:00-03:15 UTC`. Pure.

A window is told in the time of a zone: on each of its days it lasts from the moment at which a clock there first shows
the begin to the moment at which one first shows the end, which is on the next day unless it is later than the begin. So
where clocks change

- an hour that comes twice is in the window twice if both begin and end lie outside of it: `01:00-04:00` lasts four hours then.
  A begin or an end in that hour is the first of the two: `02:30-04:00` begins at the first 02:30;
- an hour that is left out is not there to be in a window: `01:00-04:00` lasts two hours. A begin or an end in that hour is the
  moment of the change: `02:30-04:00` begins at 03:00, and `02:00-02:30` is not at all.

Two windows that follow each other therefore leave no gap and do not overlap, whatever clocks do.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from demesh.errors import UsageError

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = rf"(?:{'|'.join(_DAYS)})"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_PATTERN = re.compile(
    rf"(daily|{_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*)\s+({_TIME})-({_TIME}|24:00)(?:\s+([\w/+-]+))?", re.ASCII
)
_DAY_MINUTES = 1_440
_SECOND = timedelta(seconds=1)
_WINDOWS_KEPT = 1_024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_MS_MIN, _WALL_MS_MAX = 86_400_000 * 7, 253_370_000_000_000  # days beside it are still in a calendar


@dataclass(frozen=True, slots=True)
class Window:
    """`days` count from Monday, which is 0; `ends` is more than a day where it lies on the next one. Minutes since
    midnight.
    """

    days: frozenset[int]
    begins: int
    ends: int
    zone: ZoneInfo


@lru_cache(maxsize=_WINDOWS_KEPT)
def parse_when(text: str) -> Window:
    """Days, hours, and a time zone, which is UTC if none is named; an end before the begin is on the next day.

    Raises UsageError with what is allowed.
    """
    match = _PATTERN.fullmatch(text)
    if not match or match[2] == match[3]:
        raise UsageError(
            f'{text!r} is no time for maintenance; one looks like "Sun 02:00-04:00 Europe/Berlin", "Mon-Fri 22:00-23:30 UTC" '
            'or "daily 03:00-03:15 UTC"'
        )
    try:
        zone = ZoneInfo(match[4] or "UTC")
    except (ValueError, OSError, KeyError):  # KeyError: there is none of this name; ValueError: it is no name
        raise UsageError(f"{text!r} names no time zone that this machine knows") from None
    begins, ends = _minutes(match[2]), _minutes(match[3])
    return Window(_days(match[1]), begins, ends if ends > begins else ends + _DAY_MINUTES, zone)


def check_when(text: str) -> None:
    """Raises UsageError with what is allowed."""
    parse_when(text)


def active(window: Window, wall_ms: int) -> bool:
    """Whether Unix time `wall_ms` lies in the window."""
    return active_until(window, wall_ms) is not None


def active_until(window: Window, wall_ms: int) -> int | None:
    """When (Unix) the window in which `wall_ms` lies ends; None if it lies in none."""
    found = span(window, wall_ms)
    return found[1] if found else None


def span(window: Window, wall_ms: int) -> tuple[int, int] | None:
    """From when to when (Unix) the window lasts in which `wall_ms` lies; None if it lies in none."""
    if not _WALL_MS_MIN <= wall_ms <= _WALL_MS_MAX:
        return None
    today = (_EPOCH + timedelta(milliseconds=wall_ms)).astimezone(window.zone).date()
    for day in (
        today - timedelta(1),
        today,
        today + timedelta(1),
    ):  # a clock set back at midnight shows the day before again
        if day.weekday() in window.days:
            begins_ms, ends_ms = _moment(day, window.begins, window.zone), _moment(day, window.ends, window.zone)
            if begins_ms <= wall_ms < ends_ms:
                return begins_ms, ends_ms
    return None


@lru_cache(maxsize=_WINDOWS_KEPT)
def _moment(day: date, minutes: int, zone: ZoneInfo) -> int:
    """When (Unix) a clock in `zone` first shows that time of that day, or one after it."""
    shown = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001 of the zone, below
    early, late = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early > late:  # left out: by the offset before the change it lies after the change, by that after it before
        while early - late > _SECOND:
            middle = late + (early - late) // 2 // _SECOND * _SECOND
            if middle.astimezone(zone).replace(tzinfo=None) < shown:
                late = middle
            else:
                early = middle
    return (early - _EPOCH) // timedelta(milliseconds=1)


def _minutes(text: str) -> int:
    return 60 * int(text[:2]) + int(text[3:])


def _days(text: str) -> frozenset[int]:
    """A range goes forward, over the end of the week if it must: `Sat-Mon` are three days."""
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = _DAYS.index(first)
        found.update((begin + number) % 7 for number in range((_DAYS.index(last or first) - begin) % 7 + 1))
    return frozenset(found)
