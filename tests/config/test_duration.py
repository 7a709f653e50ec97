"""Durations as people write and read them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.config.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("12h", 43_200_000),
        ("14d", 1_209_600_000),
        (" 30 s ", 30_000),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_and_its_unit(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-5s", "1e3s", "5 minutes", "5M", "1h30m", ".5s", "5.s", "inf s", "9" * 400 + "d"]
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and its unit: 250ms, 30s, 5m, 12h or 14d"):
        parse_duration(text)


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    with suppress(ValueError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5_000, "0s"),
        (0, "0s"),
        (999, "999ms"),
        (59_999, "59s"),
        (60_000, "1m"),
        (725_000, "12m 5s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),  # what is between the two largest units is left out
        (90_061_000, "1d 1h"),
        (3 * 86_400_000 + 4 * 3_600_000, "3d 4h"),
        (400 * 86_400_000, "400d"),
    ],
)
def test_the_two_largest_units_are_shown(ms: int, text: str) -> None:
    assert format_duration(ms) == text
