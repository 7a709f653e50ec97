"""When a maintenance window is, where clocks change and where they do not."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from demesh.config.when import active, active_until, parse_when, span
from tests.log.builders import generated

_HOUR_MS = 3_600_000
_BERLIN, _NEW_YORK, _SYDNEY = "Europe/Berlin", "America/New_York", "Australia/Sydney"
_ZONES = (_BERLIN, _NEW_YORK, _SYDNEY, "UTC", "Asia/Kolkata", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia")


def _at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Unix time in ms of a local time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1_000)


def _spans(when: str, first: str, days: int) -> list[tuple[str, str]]:
    """When a window is from the day `first` on, looked at every quarter of an hour, in UTC."""
    window, at_ms = parse_when(when), _at(first)
    found = {span(window, at_ms + quarter * 900_000) for quarter in range(96 * days)} - {None}
    return [(_shown(each[0]), _shown(each[1])) for each in sorted(filter(None, found))]


def _shown(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).strftime("%a %d %H:%M")


@pytest.mark.parametrize(
    ("when", "spans"),
    [
        ("Wed 02:00-04:00", [("Wed 07 02:00", "Wed 07 04:00")]),
        ("Mon-Wed 22:00-22:15 UTC", [(f"{day} 22:00", f"{day} 22:15") for day in ("Mon 05", "Tue 06", "Wed 07")]),
        ("Fri,Sun 01:00-02:00", [("Fri 09 01:00", "Fri 09 02:00"), ("Sun 11 01:00", "Sun 11 02:00")]),
        ("Sat-Mon 12:00-13:00", [(f"{day} 12:00", f"{day} 13:00") for day in ("Mon 05", "Sat 10", "Sun 11")]),
        ("Tue 23:00-01:00", [("Tue 06 23:00", "Wed 07 01:00")]),
        ("Tue 22:00-24:00", [("Tue 06 22:00", "Wed 07 00:00")]),
        ("Wed 01:00-02:00 America/New_York", [("Wed 07 06:00", "Wed 07 07:00")]),
    ],
)
def test_a_window_is_on_its_days_from_its_begin_to_its_end(when: str, spans: list[tuple[str, str]]) -> None:
    assert _spans(when, "2026-01-05T00:00", 7) == spans


@pytest.mark.parametrize(
    ("when", "at", "begins", "hours"),
    [
        # Clocks go from 02:00 to 03:00: that hour is not there.
        (f"daily 01:00-04:00 {_BERLIN}", "2026-03-29T01:30", "Sun 29 00:00", 2),
        (f"daily 01:00-04:00 {_NEW_YORK}", "2026-03-08T01:30", "Sun 08 06:00", 2),
        (f"daily 01:00-04:00 {_SYDNEY}", "2026-10-04T01:30", "Sat 03 15:00", 2),
        (f"daily 02:30-04:00 {_BERLIN}", "2026-03-29T03:30", "Sun 29 01:00", 1),
        (f"daily 01:00-02:30 {_NEW_YORK}", "2026-03-08T01:30", "Sun 08 06:00", 1),
        # Clocks go back from 03:00 to 02:00, in New York from 02:00 to 01:00: that hour is there twice.
        (f"daily 01:00-04:00 {_BERLIN}", "2026-10-25T01:30", "Sat 24 23:00", 4),
        (f"daily 00:00-03:00 {_NEW_YORK}", "2026-11-01T00:30", "Sun 01 04:00", 4),
        (f"daily 01:00-04:00 {_SYDNEY}", "2026-04-05T01:30", "Sat 04 14:00", 4),
        (f"daily 02:00-03:00 {_BERLIN}", "2026-10-25T02:30", "Sun 25 00:00", 2),
        (f"daily 01:00-02:30 {_BERLIN}", "2026-10-25T01:30", "Sat 24 23:00", 1.5),
        (f"daily 02:30-04:00 {_BERLIN}", "2026-10-25T03:30", "Sun 25 00:30", 2.5),
        (f"daily 23:00-05:00 {_NEW_YORK}", "2026-10-31T23:30", "Sun 01 03:00", 7),
        # The hour after midnight is not there.
        ("daily 00:30-03:00 America/Santiago", "2026-09-06T01:30", "Sun 06 04:00", 2),
    ],
)
def test_where_clocks_change_a_window_has_the_hours_that_there_are(
    when: str, at: str, begins: str, hours: float
) -> None:
    window = parse_when(when)
    found = span(window, _at(at, window.zone.key))
    assert found is not None
    assert (_shown(found[0]), (found[1] - found[0]) / _HOUR_MS) == (begins, hours)


def test_a_window_that_lies_in_the_hour_that_is_left_out_is_not_there() -> None:
    window = parse_when(f"daily 02:00-02:30 {_BERLIN}")
    day_ms = _at("2026-03-29T00:00", _BERLIN)
    assert not any(active(window, day_ms + minute * 60_000) for minute in range(23 * 60))
    assert active(window, _at("2026-03-30T02:10", _BERLIN))


def test_a_window_goes_on_where_a_clock_that_is_set_back_shows_the_day_before_again() -> None:
    """In Newfoundland one minute after midnight became one minute after eleven."""
    window = parse_when("Sun 00:00-00:30 America/St_Johns")
    second_ms = _at("2010-11-06T23:30", "America/St_Johns", fold=1)
    found = span(window, second_ms)
    assert found is not None
    assert (found[1] - found[0]) / _HOUR_MS == 1.5


def test_a_window_ends_when_it_says() -> None:
    window = parse_when(f"Sun 23:00-01:00 {_BERLIN}")
    ends_ms = _at("2026-01-12T01:00", _BERLIN)
    assert active_until(window, ends_ms - 1) == ends_ms
    assert active_until(window, ends_ms) is None
    assert active_until(window, ends_ms - 2 * _HOUR_MS) == ends_ms
    assert active_until(window, ends_ms - 2 * _HOUR_MS - 1) is None


@pytest.mark.parametrize("wall_ms", [0, -1, 2**53, 10**18])
def test_a_time_that_no_calendar_holds_is_in_no_window(wall_ms: int) -> None:
    assert not active(parse_when("daily 00:00-24:00"), wall_ms)


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


_times = st.tuples(st.integers(0, 1_439), st.integers(0, 1_439)).filter(lambda pair: pair[0] != pair[1])
_moments = st.integers(_at("2020-01-01T00:00"), _at("2035-01-01T00:00"))


@generated
@given(_times, st.sampled_from(_ZONES), _moments)
def test_of_two_windows_that_share_a_day_exactly_one_is_at_any_time(
    times: tuple[int, int], zone: str, wall_ms: int
) -> None:
    one, other = (_time(each) for each in times)
    assert active(parse_when(f"daily {one}-{other} {zone}"), wall_ms) != active(
        parse_when(f"daily {other}-{one} {zone}"), wall_ms
    )


_HALF_HOURS = st.integers(0, 47).map(lambda number: 30 * number)


@settings(max_examples=12)
@given(_HALF_HOURS, _HALF_HOURS, st.sampled_from((_BERLIN, _NEW_YORK, _SYDNEY)), st.integers(2020, 2034))
def test_over_a_year_a_daily_window_lasts_as_long_as_it_says_but_for_one_hour(
    begins: int, ends: int, zone: str, year: int
) -> None:
    """The hour that is left out lacks, the one that comes twice is more; a window that has none of the night has all
    its hours.
    """
    assume(begins != ends)
    window = parse_when(f"daily {_time(begins)}-{_time(ends)} {zone}")
    first, last = _at(f"{year}-01-01T00:00", zone), _at(f"{year + 1}-01-01T00:00", zone)
    found = {span(window, at_ms) for at_ms in range(first, last, 1_800_000)}
    lasts_ms = sum(min(each[1], last) - max(each[0], first) for each in found if each)
    days = 366 if year % 4 == 0 else 365
    said_ms = days * 60_000 * (window.ends - window.begins)
    assert abs(lasts_ms - said_ms) <= _HOUR_MS
    if window.ends <= 1_440 and window.begins >= 4 * 60:
        assert lasts_ms == said_ms


@generated
@given(st.sampled_from(_ZONES), _moments)
def test_all_day_every_day_is_always(zone: str, wall_ms: int) -> None:
    assert active(parse_when(f"daily 00:00-24:00 {zone}"), wall_ms)
