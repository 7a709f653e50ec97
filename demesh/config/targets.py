"""Targets of checks: which type of check one makes, and what one of this type must look like. No sentence repeats a target."""

from typing import Any
from urllib.parse import urlsplit

from demesh.config.check_tables import SCHEMES, TABLES, WITHOUT_TARGET
from demesh.config.problems import nearest
from demesh.errors import UsageError
from demesh.target import check_target

_TYPE_OF_KEY = {"command": "command", "entry": "python"}
"""The type that follows from a key, where there is no target."""


def check_check_target(target: str) -> None:
    """Raises UsageError unless `target` is one that a check can have."""
    check_target(target, tuple(SCHEMES), host_needed=not target.lower().startswith("dns:"))


def find_type(content: dict[str, Any]) -> tuple[str | None, tuple[str, str] | None]:
    """The type of the check in this table, None if it cannot be told; and (key, sentence) if that is a problem."""
    given, target = content.get("type"), content.get("target")
    if isinstance(given, str) and given not in TABLES:
        return None, ("type", f"there is no such type{nearest(given, TABLES)}")
    if given in WITHOUT_TARGET:
        return given, None
    if "target" not in content:
        implied = [type_ for key, type_ in _TYPE_OF_KEY.items() if key in content]
        if given is None and implied:
            both = ("type", 'is missing; with command it is "command", with entry "python".')
            return (implied[0], None) if len(implied) == 1 else (None, both)
        return None, ("target", "is missing.")
    if not isinstance(target, str):
        return None, ("target", "input should be a valid string.")
    try:
        check_check_target(target)
    except UsageError as error:
        return None, ("target", str(error))
    implied = SCHEMES[urlsplit(target).scheme]
    if given not in (None, implied):
        return implied, ("type", f"a target of this scheme is of type {implied!r}.")
    return implied, None
