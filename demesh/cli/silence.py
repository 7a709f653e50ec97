"""`demesh silence add|list|end`."""

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

_PATH = "/api/v1/silences"


@click.group()
def silence() -> None:
    """Let nobody be notified of what you know of, for a while, on all nodes."""


@silence.command()
@click.argument("words", metavar="MATCHER... DURATION", nargs=-1, required=True)
@comment_and_by
@options.as_json
@options.node_url
@options.data_dir
def add(
    words: tuple[str, ...], comment: str, by: str | None, as_json: bool, node_url: str | None, data_dir: str | None
) -> None:
    """Silence the incidents whose labels match all MATCHERs, for DURATION from now on.

    Matchers are Alertmanager's: = != and, with a regular expression for the whole value, =~ !~. Labels are those of the alerts:
    alertname, check or node, type, severity, and those that the configuration adds. What is wrong is recorded and shown as ever;
    if it still is when the silence ends, it is notified then.

    Exits 0 once the mesh is told, 2 if it cannot be done, 3 if no node runs here.

    \b
    Examples:
      demesh silence add check=api 2h -m "deploy"
      demesh silence add 'node=~"nas|vps"' severity!=critical 1d
    """
    matchers, duration_ms = split_duration(words, "demesh silence add check=api 2h")
    texts = [parse_matcher(each).text for each in matchers]
    answer = tell(_PATH, data_dir, node_url, {"matchers": texts, "duration_ms": duration_ms, **said(comment, by)})
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"Silenced for {format_duration(duration_ms)}, on all nodes: {printable(', '.join(texts))}.")


@silence.command("list")
@options.as_json
@options.node_url
@options.data_dir
def list_(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """The silences that are not over, whoever made them.

    \b
    Example:
      demesh silence list
    """
    told = ask(_PATH, data_dir, node_url, list)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    columns = ("ID", "ENDS IN", "WHAT", "BY", "COMMENT")
    show_list(told, columns, _cells, "Nothing is silenced.", unbroken=("ID", "ENDS IN"))


@silence.command()
@click.argument("silence_id", metavar="ID")
@options.node_url
@options.data_dir
def end(silence_id: str, node_url: str | None, data_dir: str | None) -> None:
    """End a silence, on all nodes. `demesh silence list` shows the ID.

    Exits 0 once the mesh is told, 2 if there is no such silence, 3 if no node runs here.

    \b
    Example:
      demesh silence end 2a849590-17
    """
    end_decision(_PATH, silence_id, data_dir, node_url)


def _cells(each: dict[str, Any], at: datetime) -> list[Cell]:
    ends_in, what = left(each["ends_at"], at), " ".join(each["matchers"])
    return [(each["id"], ""), (ends_in, ""), (what, ""), (who(each), ""), (each["comment"], "")]
