"""`demesh node run|leave|id`."""

from typing import Literal

import click

from demesh.cli import options


@click.group()
def node() -> None:
    """Run a node, make it leave, or show which one lives here."""


@node.command()
@click.argument("targets", nargs=-1)
@click.option(
    "--config", metavar="FILE", help="The configuration [default: demesh.toml in the data directory, if there]."
)
@click.option("--name", metavar="NAME", help="The node's name [default: this machine's host name].")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Where other nodes connect, or `none` [default: port 8471, everywhere].",
)
@click.option("--advertise", metavar="HOST:PORT", multiple=True, help="What to tell other nodes to dial.")
@click.option("--api", metavar="HOST:PORT", help="The API's address, or `none` [default: 127.0.0.1:8470].")
@click.option(
    "--peer", "peers", metavar="ADDRESS", multiple=True, help="Another node of the mesh: host:port or multiaddr."
)
@click.option(
    "--swarm-key-file",
    metavar="FILE",
    envvar="DEMESH_SWARM_KEY_FILE",
    help="The mesh's swarm key [default: swarm.key in the data directory].",
)
@click.option("--alertmanager", "alertmanagers", metavar="URL", multiple=True, help="An Alertmanager to tell.")
@click.option("-v", "--verbose", count=True, help="Say more; twice: say everything.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="DEMESH_LOG_FORMAT",
    help="How the diagnostic log on standard error is written [default: text].",
)
@click.option("--stats", is_flag=True, help="Log a line of statistics every 30 seconds.")
@options.data_dir
def run(
    targets: tuple[str, ...],
    config: str | None,
    name: str | None,
    listen: tuple[str, ...],
    advertise: tuple[str, ...],
    api: str | None,
    peers: tuple[str, ...],
    swarm_key_file: str | None,
    alertmanagers: tuple[str, ...],
    verbose: int,
    log_format: Literal["text", "json"],
    stats: bool,
    data_dir: str | None,
) -> None:
    """Run a node that watches TARGETS and what its configuration names.

    A target is a URL: http://, https://, tcp://HOST:PORT, tls://HOST:PORT, dns://SERVER/NAME or ping://HOST.

    Without a configuration it makes a data directory, a node key and a swarm key, and founds a mesh. A second machine joins
    it with `demesh invite | ssh second demesh join`, or with a copy of that swarm key and --peer. SIGTERM and SIGINT end it;
    its last entry then says that it left.

    \b
    Examples:
      demesh node run https://example.org
      demesh node run --peer vps1.example.net:8471 --swarm-key-file swarm.key
      demesh node run --stats --log-format json https://example.org
    """
    from demesh.cli.early import before_there_is_a_node

    before_there_is_a_node()
    from demesh.cli.run import run_node  # which takes a second
    from demesh.config.command_line import CommandLine

    run_node(
        CommandLine(
            name=name,
            listen=listen,
            advertise=advertise,
            api=api,
            peers=peers,
            swarm_key_file=swarm_key_file,
            alertmanagers=alertmanagers,
            targets=targets,
        ),
        data_dir=data_dir,
        config=config,
        verbose=verbose,
        log_format=log_format,
        statistics=stats,
    )


@node.command()
@options.node_url
@options.data_dir
def leave(node_url: str | None, data_dir: str | None) -> None:
    """Stop the running node and take it out of the mesh: nobody waits for it, nobody is told that it is silent.

    Started again, it is a member again. What it wrote stays with the others.

    \b
    Example:
      demesh node leave
    """
    from demesh.cli.client import ask

    ask("/api/v1/leave", data_dir, node_url, dict, method="POST")
    click.echo("The node leaves the mesh and stops.")


@node.command("id")
@options.data_dir
def show_id(data_dir: str | None) -> None:
    """Print the peer id of the node in the data directory.

    \b
    Example:
      demesh node id
    """
    from demesh.errors import NodeNotRunning
    from demesh.home import find_home
    from demesh.identity import peer_id, read_or_make_node_key

    home = find_home(data_dir)
    if not home.exists:
        raise NodeNotRunning(f"There is no node at {home.path}. `demesh init` or `demesh node run` makes one.")
    click.echo(peer_id(bytes(read_or_make_node_key(home.node_key).verify_key)))
