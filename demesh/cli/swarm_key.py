"""`demesh swarm-key new|fingerprint|rotate`."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.find_swarm_key import configured_swarm_key, find_swarm_key, read_swarm_keys
from demesh.cli.terminal import count, printable
from demesh.errors import UsageError
from demesh.home import find_home
from demesh.identity import new_swarm_key, read_swarm_key, write_secret


@click.group("swarm-key")
def swarm_key() -> None:
    """The secret that lets nodes of one mesh connect."""


@swarm_key.command()
@click.argument("file", required=False)
@options.data_dir
def new(file: str | None, data_dir: str | None) -> None:
    """Make a new swarm key in FILE, by default in the data directory. Nothing is overwritten.

    \b
    Example:
      demesh swarm-key new swarm.key
    """
    path = Path(file) if file else find_home(data_dir).swarm_key
    key = new_swarm_key()
    write_secret(path, key.text())
    click.echo(f"{path} (fingerprint {key.fingerprint}). Whoever has this file can join the mesh: keep it secret.")


@swarm_key.command()
@click.argument("file", required=False)
@options.swarm_key_file
@options.data_dir
def fingerprint(file: str | None, swarm_key_file: str | None, data_dir: str | None) -> None:
    """Print what tells this swarm key from others and reveals nothing of it: of FILE, or else of this node.

    \b
    Example:
      demesh swarm-key fingerprint
    """
    if file:
        click.echo(read_swarm_key(Path(file)).fingerprint)
        return
    home = find_home(data_dir)
    files = find_swarm_key(home, swarm_key_file, configured_swarm_key(home))
    click.echo(read_swarm_keys(files).current.fingerprint)


@swarm_key.command()
@click.option(
    "--without", metavar="NAME", multiple=True, help="A member that does not get the new key, by name or peer id."
)
@click.option("--status", "only_show", is_flag=True, help="Only say who has the new key.")
@click.option("--finish", is_flag=True, help="Drop the old key now, whoever has not got the new one.")
@options.as_json
@options.node_url
@options.data_dir
def rotate(
    without: tuple[str, ...],
    only_show: bool,
    finish: bool,
    as_json: bool,
    node_url: str | None,
    data_dir: str | None,
) -> None:
    """Change the mesh's swarm key, without a pause and without losing a member.

    The running node makes a new key and hands it, encrypted, to every member it knows; members hand it on. Meanwhile both
    keys let a node connect. When the last of them has it, the old key is dropped everywhere, and whoever has only that is
    a stranger. A member that is switched off keeps the change open; --finish ends it, and that member joins again with a new
    `demesh invite`. Logs, names and history stay what they are.

    \b
    Examples:
      demesh swarm-key rotate --status
      demesh swarm-key rotate
      demesh swarm-key rotate --finish
    """
    if (only_show + finish + bool(without)) > 1:
        raise UsageError("--without, --status and --finish do not go together.")
    path, method = "/api/v1/swarm-key", "GET" if only_show else "POST"
    if finish:
        path += "/finish"
    elif not only_show:
        path += "/rotate" + ("?" + urlencode({"without": without}, doseq=True) if without else "")
    said: dict[str, Any] = ask(path, data_dir, node_url, dict, method)
    if as_json:
        click.echo(json.dumps(said, indent=2))
        return
    _show(printable(said))


def _show(said: dict[str, Any]) -> None:
    change = said["change"]
    if change is None:
        click.echo(f"The swarm key is {said['fingerprint']}; no change is under way.")
        return
    click.echo(
        f"The swarm key changes from {said['fingerprint']} to {change['fingerprint']}, begun by {change['begun_by']}"
    )
    for member in change["members"]:
        click.echo(f"  {'✔ has it ' if member['has_it'] else '… not yet'}  {member['name']}")
    for name in change["left_out"]:
        click.echo(f"  ✘ left out {name}")
    missing = sum(not member["has_it"] for member in change["members"])
    if change["finished"]:
        click.echo("The old key is being dropped.")
    elif missing:
        click.echo(f"The old key is dropped when {count(missing, 'more member has', 'more members have')} the new one.")
    else:
        click.echo("All have the new key; the node where it was begun is about to drop the old one.")
