"""`demesh ack`."""

import json
from urllib.parse import quote

import click

from demesh.cli import options
from demesh.cli.deciding import comment_and_by, said, tell
from demesh.cli.terminal import printable


@click.command()
@click.argument("incident", metavar="INCIDENT|CHECK|NODE")
@click.option("--undo", is_flag=True, help="Take it back.")
@comment_and_by
@options.as_json
@options.node_url
@options.data_dir
def ack(
    incident: str, undo: bool, comment: str, by: str | None, as_json: bool, node_url: str | None, data_dir: str | None
) -> None:
    """Say that you look after what is open: every node shows it, and nobody is reminded of it any more.

    Meant are the open incidents of that name, or of that check or node; DemeshCheckDown/api names one of both. Alertmanager is
    told of them as before, and of their end. An acknowledgement ends when its incident does.

    Exits 0 once the mesh is told, 2 if there is nothing of that name, 3 if no node runs here.

    \b
    Examples:
      demesh ack api -m "the disk is full, on it"
      demesh ack DemeshNodeSilent/nas
      demesh ack --undo api
    """
    if undo:
        answer = tell(f"/api/v1/acknowledgements/end?incident={quote(incident, safe='')}", data_dir, node_url)
    else:
        answer = tell("/api/v1/acknowledgements", data_dir, node_url, {"incident": incident, **said(comment, by)})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for each in printable(answer["incidents"]):
        click.echo(f"{'Not acknowledged any more' if undo else 'Acknowledged'}, on all nodes: {each}")
