"""`demesh alerts` and `demesh alerts test`: what is wrong now, and whether anybody would be told."""

import json
import sys
from importlib import import_module
from typing import Any

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.client import ask_lines
from demesh.cli.terminal import count, printable
from demesh.errors import NodeNotRunning

_ANSWER_SECONDS_MAX = 2 * limits.NOTIFY_SECONDS_MAX + 5
"""A sink is told twice, that it is open and that it is over."""


@click.group(invoke_without_command=True)
@options.as_json
@options.node_url
@options.data_dir
@click.pass_context
def alerts(context: click.Context, as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """What is wrong, since when, who agrees, and whether it is muted or somebody looks after it.

    Also what closed lately while this node ran, what Alertmanagers told any node of the mesh, and whether alerts reach them.

    \b
    Examples:
      demesh alerts
      demesh alerts --json
      demesh alerts test
    """
    if context.invoked_subcommand is None:
        import_module("demesh.cli.alerts_list").show(as_json, node_url, data_dir)


@alerts.command()
@options.as_json
@options.node_url
@options.data_dir
def test(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """Send a marked test through every sink of a node: each Alertmanager and each [[notify]].

    It is called DemeshTest, has the severity `none` and says that it is a test; Alertmanagers and webhooks are told at once
    that it is over. A node tests its own sinks, from where it is.

    Exits 0 if all arrived, 2 if one did not or the node has no sink.

    \b
    Examples:
      demesh alerts test
      demesh alerts test --node http://nas.example.net:8470
    """
    lines = ask_lines("/api/v1/alerts/test", data_dir, node_url, None, _ANSWER_SECONDS_MAX)
    said = next(lines, None)
    if said is None or not {"node", "sinks"} <= said.keys():
        raise NodeNotRunning("What answers there is no demesh node that can test its sinks.")
    if said["sinks"] and not as_json:
        click.echo(f"{printable(said['node'])} sends a test through {count(said['sinks'], 'sink')}:")
    found: list[dict[str, Any]] = []
    for line in lines:
        found.append(line)
        if not as_json:
            click.echo(_line(printable(line)))
    arrived = len(found) == said["sinks"] > 0 and all(each["arrived"] for each in found)
    if as_json:
        click.echo(json.dumps({"node": said["node"], "sinks": found, "arrived": arrived}, indent=2))
    elif not said["sinks"]:
        click.echo(f"{printable(said['node'])} has no sink: nobody would be told.", err=True)
    elif len(found) < said["sinks"]:
        click.echo("The node ended before it knew of all.", err=True)
    sys.exit(0 if arrived else 2)


def _line(found: dict[str, Any]) -> str:
    glyph = click.style("✔", fg="green") if found["arrived"] else click.style("✖", fg="red", bold=True)
    how = f"arrived in {found['took_ms']} ms" if found["arrived"] else f"did not arrive: {found['problem']}"
    return f"  {glyph} {found['sink']} ({found['kind']}): {how}"
