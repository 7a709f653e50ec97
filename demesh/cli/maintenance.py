"""`demesh maintenance start|list|end`."""

import json
from datetime import datetime
from typing import Any

import click

from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.deciding import comment_and_by, end_decision, left, said, show_list, split_duration, tell, who
from demesh.cli.table import Cell
from demesh.cli.terminal import printable
from demesh.config.duration import format_duration
from demesh.log.matcher import parse_matcher

_ALL = "all"
_PATH = "/api/v1/maintenance"


@click.group()
def maintenance() -> None:
    """Work on checks or nodes without alarming anybody. What comes again and again belongs into the configuration."""


@maintenance.command()
@click.argument("words", metavar="SELECTOR... DURATION", nargs=-1, required=True)
@click.option("--name", metavar="NAME", default="maintenance", help="What it is called [default: maintenance].")
@comment_and_by
@options.as_json
@options.node_url
@options.data_dir
def start(
    words: tuple[str, ...],
    name: str,
    comment: str,
    by: str | None,
    as_json: bool,
    node_url: str | None,
    data_dir: str | None,
) -> None:
    """Begin maintenance of what matches all SELECTORs, or of `all`, for DURATION from now on, on all nodes.

    A selector is a matcher as `demesh silence add` knows them. What is wrong meanwhile is recorded and shown as ever; if it still
    is when the maintenance ends, it is notified then.

    Exits 0 once the mesh is told, 2 if it cannot be done, 3 if no node runs here.

    \b
    Examples:
      demesh maintenance start node=nas 1h -m "new disk"
      demesh maintenance start all 30m --name "network"
    """
    selectors, duration_ms = split_duration(words, "demesh maintenance start node=nas 1h")
    texts = [] if selectors == [_ALL] else [parse_matcher(each).text for each in selectors]
    if not selectors:
        raise click.UsageError("What is maintained? Name a selector, such as node=nas, or all.")
    wish = {"matchers": texts, "duration_ms": duration_ms, "name": name, **said(comment, by)}
    answer = tell(_PATH, data_dir, node_url, wish)
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(
        f"Maintenance for {format_duration(duration_ms)}, on all nodes: {printable(', '.join(texts) or 'everything')}."
    )


@maintenance.command("list")
@options.as_json
@options.node_url
@options.data_dir
def list_(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """What is maintained or will be, of this node's configuration, of others' and by hand.

    \b
    Example:
      demesh maintenance list
    """
    told = ask(_PATH, data_dir, node_url, list)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    columns = ("ID", "NAME", "NOW", "WHEN", "WHAT", "BY", "COMMENT")
    show_list(told, columns, _cells, "There is no maintenance.", unbroken=("ID", "NOW"))


@maintenance.command()
@click.argument("maintenance_id", metavar="ID")
@options.node_url
@options.data_dir
def end(maintenance_id: str, node_url: str | None, data_dir: str | None) -> None:
    """End maintenance, on all nodes. `demesh maintenance list` shows the ID.

    What stands in a node's configuration is over, too, until that node's configuration of it changes.

    Exits 0 once the mesh is told, 2 if there is none of that ID, 3 if no node runs here.

    \b
    Example:
      demesh maintenance end 2a849590-18
    """
    end_decision(_PATH, maintenance_id, data_dir, node_url)


def _cells(each: dict[str, Any], at: datetime) -> list[Cell]:
    ends_in = left(each["ends_at"], at)
    what = [
        *each["matchers"],
        *(f"check={name}" for name in each["checks"]),
        *(f"node={name}" for name in each["nodes"]),
    ]
    by = f"configuration of {each['node']}" if each["configured"] else who(each)
    return [
        (each["id"], ""),
        (each["name"], ""),
        (f"for {ends_in}" if each["active"] else "", "yellow"),
        (each["when"] or "once", ""),
        (" ".join(what) or "everything", ""),
        (by, ""),
        (each["comment"], ""),
    ]
