"""What may be printed: texts come from other nodes and from targets, and a terminal obeys control characters."""

from datetime import datetime
from typing import Any, cast

from demesh.config.duration import format_duration


def printable(value: Any) -> Any:
    """`value`, a JSON answer, with every control character in its texts replaced."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in value)
    if isinstance(value, list):
        return [printable(each) for each in cast(list[Any], value)]
    if isinstance(value, dict):
        return {printable(key): printable(each) for key, each in cast(dict[Any, Any], value).items()}
    return value


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 log`, `2 logs`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def ago(text: str | None, now: datetime) -> str:
    """How long before `now` an ISO 8601 time was, as a duration; empty without one."""
    return format_duration(round((now - datetime.fromisoformat(text)).total_seconds() * 1_000)) if text else ""
