"""Durations as people write them: `250ms`, `30s`, `5m`, `12h`, `14d`."""

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Whole milliseconds. Raises ValueError with what is allowed."""
    match = _PATTERN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; write a number and its unit: 250ms, 30s, 5m, 12h or 14d")
    return round(float(match[1]) * _UNITS_MS[match[2]])


def format_duration(ms: int) -> str:
    """The two largest units of a duration: `3d 4h`, `12m 5s`, `250ms`, `0s`."""
    if 0 < ms < 1_000:
        return f"{ms}ms"
    seconds = max(0, ms) // 1_000
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= size and len(parts) < 2:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
        elif parts:
            break
    return " ".join(parts) or "0s"
