"""`demesh servers parked` and `demesh servers retry`: servers of lists that never answered."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.table import Cell, say_table, width
from demesh.cli.terminal import ago, count, printable
from demesh.clock import SystemClock
from demesh.errors import UsageError

_COLUMNS = ("SERVER", "NODE", "TRIES", "LAST TRY", "WHAT CAME OF IT")
_UNBROKEN = ("NODE", "TRIES", "LAST TRY")


@click.command()
@options.as_json
@options.node_url
@options.data_dir
def parked(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """Servers of lists that never answered, and are let rest.

    A server of a list is a candidate until it passes for the first time with any node: until then its failures say nothing.
    Where it was tried in vain three times it is parked: that node tries it once a day. When it answers anybody, all run it like
    any other check.

    \b
    Examples:
      demesh servers parked
      demesh servers parked --json
    """
    told = ask("/api/v1/servers/parked", data_dir, node_url, list)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if not told:
        click.echo("No server is parked.", err=True)
        return
    now = datetime.fromtimestamp(SystemClock().wall_ms() / 1_000, UTC)
    say_table(_COLUMNS, [row for each in printable(told) for row in _rows(each, now)], _UNBROKEN, width())
    click.echo(
        f"{count(len(told), 'server is', 'servers are')} parked; `demesh servers retry` tries them once more.", err=True
    )


@click.command()
@click.argument("names", metavar="SERVER...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are parked on this node.")
@options.node_url
@options.data_dir
def retry(names: tuple[str, ...], everything: bool, node_url: str | None, data_dir: str | None) -> None:
    """Try parked servers once more now, from the node that is asked.

    A SERVER is named as `demesh servers parked` shows it, or by the name of its check. That shows what came of it a few seconds
    later, too; what has answered is there no more.

    Exits 0 once they are about to be tried, 2 if one of that name is not parked there.

    \b
    Example:
      demesh servers retry --all
    """
    if bool(names) == everything:
        raise UsageError("Name the servers to try, or say --all.")
    told = ask("/api/v1/servers/retry", data_dir, node_url, dict, method="POST", document={"names": list(names)})
    if not told["names"]:
        click.echo("No server is parked here.", err=True)
        return
    click.echo(f"Trying {count(len(told['names']), 'server', 'servers')} once more.")


def _rows(server: dict[str, Any], now: datetime) -> list[list[Cell]]:
    return [
        [
            (server["target"] if number == 0 else "", ""),
            (each["node"], ""),
            (str(each["tries"]) if each["tries"] is not None else "", ""),
            (f"{ago(each['tried_at'], now)} ago" if each["tried_at"] else "", "dim"),
            (each["detail"] or each["outcome"] or "", ""),
        ]
        for number, each in enumerate(server["nodes"])
    ]
