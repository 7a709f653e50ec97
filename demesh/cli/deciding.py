"""What the commands about alerts share: who says so, and how what was decided is shown."""

import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import click

from demesh import limits
from demesh.cli.client import ask
from demesh.cli.table import Cell, say_table, width
from demesh.cli.terminal import printable
from demesh.clock import SystemClock
from demesh.config.duration import format_duration, parse_duration
from demesh.errors import UsageError

_F = TypeVar("_F", bound=Callable[..., Any])


def comment_and_by(function: _F) -> _F:
    comment = click.option("-m", "--comment", metavar="TEXT", default="", help="Why; every node shows it.")
    by = click.option("--by", metavar="NAME", help="Who says so; every node shows it [default: your user name].")
    return comment(by(function))


def said(comment: str, by: str | None) -> dict[str, str]:
    """What goes with every decision."""
    return {"comment": comment, "by": (user() if by is None else by)[: limits.NAME_CHARS_MAX]}


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def split_duration(words: Sequence[str], example: str) -> tuple[list[str], int]:
    """All but the last of `words`, and that as milliseconds. Raises UsageError."""
    try:
        return list(words[:-1]), parse_duration(words[-1])
    except (ValueError, IndexError) as error:
        raise UsageError(f"{error}. For how long comes last: {example}") from None


def tell(path: str, data_dir: str | None, node_url: str | None, document: Any = None) -> dict[str, Any]:
    """What the node answers to a change."""
    return ask(path, data_dir, node_url, dict, method="POST", document=document)


def show_list(
    told: list[Any],
    columns: tuple[str, ...],
    cells: Callable[[dict[str, Any], datetime], list[Cell]],
    nothing: str,
    unbroken: tuple[str, ...],
) -> None:
    """Print what a node has told, a row each; `nothing` is said if there is none."""
    if told:
        at = now()
        say_table(columns, [cells(each, at) for each in printable(told)], unbroken, width())
    else:
        click.echo(nothing, err=True)


def end_decision(path: str, wanted: str, data_dir: str | None, node_url: str | None) -> None:
    """End what is called `wanted` among those at `path`, and say so."""
    tell(f"{path}/end?id={quote(wanted, safe='')}", data_dir, node_url)
    click.echo(f"Ended {printable(wanted)}; what is still wrong is notified.")


def now() -> datetime:
    return datetime.fromtimestamp(SystemClock().wall_ms() / 1_000, UTC)


def left(text: str | None, at: datetime) -> str:
    """How long from `at` to an ISO 8601 time, as a duration; empty without one."""
    return format_duration(round((datetime.fromisoformat(text) - at).total_seconds() * 1_000)) if text else ""


def who(each: dict[str, Any]) -> str:
    """`ann on nas`, or the node alone."""
    return f"{each['by']} on {each['node']}" if each["by"] else each["node"]
