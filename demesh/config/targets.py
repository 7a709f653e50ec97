"""Targets of checks: which type of check one makes, and what one of this type must look like. No sentence repeats a target."""

import re
from typing import Any
from urllib.parse import urlsplit

from demesh.config.check_tables import SCHEMES, TABLES, WITHOUT_TARGET
from demesh.config.problems import nearest
from demesh.errors import UsageError
from demesh.target import check_target

_DNS_NAME = re.compile(r"/(?:[^\s./]{1,63}\.)*[^\s./]{1,63}\.?|/\.")


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
        for key, type_ in (("command", "command"), ("entry", "python")):
            if key in content and given is None:
                return type_, ("type", f'is missing; a check with {key} is of type = "{type_}".')
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


def target_problem(type_: str, target: str) -> str | None:
    """What a target of this type, which is a proper URL, has too much or too little."""
    parts = urlsplit(target)
    if type_ in ("http", "turn", "mqtt"):
        return None
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "a target of this scheme has neither user info nor query."
    if type_ == "dns":
        if _DNS_NAME.fullmatch(parts.path) and len(parts.path) <= 255:
            return None
        return "names no domain; one looks like dns://192.0.2.53/example.org, or dns:///example.org for this machine's resolver."
    if parts.path not in ("", "/"):
        return "a target of this scheme has no path."
    if type_ in ("tcp", "tls") and not parts.port:
        return f"names no port; one looks like {type_}://db.example.org:5432."
    if type_ == "ping" and parts.port is not None:
        return "a target of ping:// has no port."
    return None
