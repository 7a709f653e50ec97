"""What may be printed: texts come from other nodes and from targets, and a terminal obeys control characters."""

from typing import Any, cast


def printable(value: Any) -> Any:
    """`value`, a JSON answer, with every control character in its texts replaced."""
    if isinstance(value, str):
        return "".join(char if char.isprintable() else "\ufffd" for char in value)
    if isinstance(value, list):
        return [printable(each) for each in cast(list[Any], value)]
    if isinstance(value, dict):
        return {printable(key): printable(each) for key, each in cast(dict[Any, Any], value).items()}
    return value


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 log`, `2 logs`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
