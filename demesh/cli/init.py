"""`demesh init`: a data directory with keys and a configuration to edit."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from demesh.cli import options
from demesh.config.load import check_name, default_name
from demesh.errors import UsageError
from demesh.home import find_home
from demesh.identity import new_swarm_key, peer_id, read_or_make_node_key, read_swarm_key, write_secret

_CONFIG = """\
# This node. Everything here is optional; `demesh node run` reads this file.
[node]
name = "{name}"
tags = []

[mesh]
# Other nodes of the mesh, as host:port or multiaddr. One that can be reached is enough.
peers = {peers}

[alerts]
# alertmanager = "http://127.0.0.1:9093"

# One table for each thing to watch; the type of check follows from the target's scheme.
# [[check]]
# name = "blog"
# target = "https://blog.example.net"
# interval = "60s"
# expect = {{ body = "Welcome", cert_expires_in = "14d" }}
"""


def config_text(name: str, peers: Sequence[str] = ()) -> str:
    """A configuration to edit, of a node with that name."""
    listed = "".join(f"\n    {json.dumps(each)}," for each in peers)
    return _CONFIG.format(name=name, peers=f"[{listed}\n]" if listed else "[]")


@click.command()
@click.option("--name", metavar="NAME", help="The node's name [default: this machine's host name].")
@click.option(
    "--swarm-key-file",
    metavar="FILE",
    envvar="DEMESH_SWARM_KEY_FILE",
    help="Join the mesh of this swarm key instead of founding one.",
)
@options.data_dir
def init(name: str | None, swarm_key_file: str | None, data_dir: str | None) -> None:
    """Make a data directory: node key, swarm key and a configuration to edit.

    Nothing that exists is overwritten. To join a mesh that is there already, see `demesh join`.

    \b
    Example:
      demesh init --name nas
    """
    home = find_home(data_dir)
    if home.exists and home.config.exists():
        raise UsageError(f"{home.path} holds a node already; edit {home.config}.")
    if name and home.config.exists():
        raise UsageError(
            f"{home.config} is there already and stays as it is; set the name in it, and leave out --name."
        )
    name = check_name(name) if name else default_name()
    given = read_swarm_key(Path(swarm_key_file)) if swarm_key_file else None
    home.make()
    if given:
        write_secret(home.swarm_key, given.text())
    elif not home.swarm_key.exists():
        founding = new_swarm_key()
        write_secret(home.swarm_key, founding.text())
        if not home.mesh_id.exists():
            write_secret(home.mesh_id, founding.first_mesh_id().hex() + "\n")
    key = read_or_make_node_key(home.node_key)
    if not home.config.exists():
        write_secret(home.config, config_text(name))
    swarm = read_swarm_key(home.swarm_key)
    click.echo(f"Made {home.path}")
    click.echo(f"  node       {peer_id(bytes(key.verify_key))}")
    click.echo(
        f"  swarm key  {home.swarm_key} (fingerprint {swarm.fingerprint}); keep it secret, `demesh invite` hands it on"
    )
    click.echo(f"  edit       {home.config}, then: demesh node run")
