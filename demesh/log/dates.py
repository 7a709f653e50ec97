"""Times as texts."""

from datetime import UTC, datetime

_WALL_MS_END = 253_402_300_800_000  # the year 10000, which no calendar here holds


def iso_ms(wall_ms: int) -> str | None:
    """Unix time in ms as ISO 8601 in UTC, to the millisecond; None for what no calendar holds."""
    if not 0 <= wall_ms < _WALL_MS_END:
        return None
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
