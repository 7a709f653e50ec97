"""`demesh swarm-key new|fingerprint`."""

from pathlib import Path

import click

from demesh.cli import options
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
@options.data_dir
def fingerprint(file: str | None, data_dir: str | None) -> None:
    """Print what tells this swarm key from others and reveals nothing of it.

    \b
    Example:
      demesh swarm-key fingerprint
    """
    click.echo(read_swarm_key(Path(file) if file else find_home(data_dir).swarm_key).fingerprint)
