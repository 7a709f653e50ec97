"""`demesh invite`: one line with which another machine joins the mesh."""

from pathlib import Path
from typing import Any

import click

from demesh import limits
from demesh.address import multiaddr
from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.find_swarm_key import find_swarm_key, read_swarm_keys
from demesh.config.command_line import CommandLine
from demesh.config.load import Settings, check_name
from demesh.config.source import ConfigSource
from demesh.errors import NodeNotRunning, UsageError
from demesh.home import Home, find_home, read_mesh_id, running_node
from demesh.identity import SwarmKey, peer_id, read_or_make_node_key
from demesh.invitation import Invitation
from demesh.reachable import dialable

_LISTEN_DEFAULT = ("/ip4/0.0.0.0/tcp/8471", "/ip6/::/tcp/8471")


@click.command()
@click.option("--name", metavar="NAME", help="What the newcomer is to be called [default: its host name].")
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    multiple=True,
    help="Where the newcomer finds this node [default: what the node tells the others].",
)
@options.swarm_key_file
@options.config
@options.data_dir
def invite(
    name: str | None,
    advertise: tuple[str, ...],
    swarm_key_file: str | None,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Print one line with which another machine joins this mesh. The line is a secret.

    It holds the swarm key, the mesh's id and where this node is found. It works until the swarm key is changed
    (`demesh swarm-key rotate`). The node may run or not.

    \b
    Examples:
      demesh invite | ssh second demesh join
      demesh invite --name nas --advertise vps1.example.net:8471
    """
    home = find_home(data_dir)
    if not home.exists:
        raise NodeNotRunning(f"There is no node at {home.path}. `demesh init` or `demesh node run` makes one.")
    name = check_name(name) if name else ""
    path = Path(config) if config else home.config
    settings = ConfigSource(path, CommandLine(advertise=advertise), needed=bool(config)).load()
    key = read_swarm_keys(find_swarm_key(home, swarm_key_file, settings.swarm_key_file)).newest
    said: dict[str, Any] = ask("/api/v1/node", data_dir, None, dict) if running_node(home) else {}
    if said and said["swarm_key"] != key.fingerprint:
        raise UsageError(
            f"The running node has another swarm key (fingerprint {said['swarm_key']}) than the file (fingerprint "
            f"{key.fingerprint}). Name the one it was started with: --swarm-key-file FILE."
        )
    addresses = [multiaddr(*each) for each in settings.advertise] if advertise else _addresses(settings, said)
    if not addresses:
        raise UsageError(
            "No address of this node can be dialled from another machine. Name one that can: `demesh invite --advertise "
            "HOST:PORT`, or for good as advertise in [mesh] of demesh.toml."
        )
    own = peer_id(bytes(read_or_make_node_key(home.node_key).verify_key))
    peers = tuple(f"{each}/p2p/{own}" for each in addresses[: limits.ADDRESSES_MAX])
    mesh_id = _mesh_id(home, settings, key)
    click.echo(Invitation(key, mesh_id, peers, said.get("name") or settings.name, name).line())
    click.echo(
        f"This line is a secret: whoever has it can join mesh {mesh_id.hex()[:8]} and read all of it. Give it to "
        "`demesh join` on the other machine, best through a pipe.",
        err=True,
    )


def _addresses(settings: Settings, said: dict[str, Any]) -> list[str]:
    """Where this node is found, by what it says, or else by its configuration."""
    if said:
        return said["addresses"] or dialable(said["listening"])
    listening = ([multiaddr(*each) for each in settings.listen] or _LISTEN_DEFAULT) if settings.listens else []
    return [multiaddr(*each) for each in settings.advertise] or dialable(listening)


def _mesh_id(home: Home, settings: Settings, key: SwarmKey) -> bytes:
    if home.mesh_id.exists():
        return read_mesh_id(home)
    if settings.peers:
        raise UsageError(
            "This node does not know its mesh yet: it learns it from a peer when it runs. Start it first, or ask another node."
        )
    return key.first_mesh_id()
