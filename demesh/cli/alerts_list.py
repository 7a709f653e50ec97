"""`demesh alerts`: the open incidents, as the mesh has them now."""

import json
from datetime import datetime

import click

from demesh.cli.client import ask
from demesh.cli.terminal import ago, printable


def show(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """Print the incidents of `demesh status`. Raises UsageError, NodeNotRunning."""
    answer = ask("/api/v1/status", data_dir, node_url, dict)
    if as_json:
        click.echo(json.dumps(answer["incidents"], indent=2))
        return
    now = datetime.fromisoformat(answer["as_of"])
    for each in printable(answer["incidents"]):
        said = each["annotations"].get("summary", "")
        click.echo(f"{each['name']} {each['subject']}, since {ago(each['since'], now)}{f': {said}' if said else ''}")
    if not answer["incidents"]:
        click.echo("Nothing is wrong.")
