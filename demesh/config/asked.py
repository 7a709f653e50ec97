"""Which check somebody means who asks for one run of it: the name of one that is configured, or a table like [[check]]. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from demesh.checks.check import Check
from demesh.config.adopt import check_of
from demesh.config.command_line import name_for
from demesh.errors import UsageError


def check_asked(checks: Iterable[Check], name: str | None, table: Mapping[str, Any]) -> Check:
    """The check `name` among `checks`, or that of `table`, which needs nothing but a target. Raises UsageError."""
    if name is not None:
        for check in checks:
            if check.name == name:
                return check
        raise UsageError(f"This node has no check named {name!r}.")
    target = table.get("target")
    if not isinstance(target, str):
        raise UsageError("There is neither the name of a check nor a target.")
    # Who types a query wants it asked.
    shown = {"show_query": True} if target.startswith("http") and "?" in target else {}
    try:
        return check_of({"name": name_for(target), **table, **shown})
    except (UsageError, ValueError) as why:
        raise UsageError(f"This cannot be tried: {why}.") from None
