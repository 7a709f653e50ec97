"""Points in time as people write them: how long ago (`24h`, `7d`), or a date and time (`2025-01-31T12:00Z`)."""

from datetime import UTC, datetime, timedelta

from demesh import limits
from demesh.config.duration import parse_duration


def parse_moment(text: str, now_ms: int) -> int:
    """Unix time in ms; what has no zone is meant as this machine's clock shows it. Raises ValueError with what is allowed."""
    try:
        return max(0, now_ms - parse_duration(text))
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a duration (24h, 7d) nor a time (2025-01-31T12:00Z)") from None
    if when.tzinfo is None:
        when = when.astimezone()
    return min(max(0, (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)), limits.TIME_MS_MAX)
