"""`demesh join`: becomes a member of the mesh that an invitation is of."""

import os
import sys
from pathlib import Path

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.init import config_text
from demesh.cli.terminal import count, printable
from demesh.config.edit import add_peers
from demesh.config.load import check_name, default_name, read_settings
from demesh.errors import UsageError
from demesh.home import Home, HomeLock, find_home, read_mesh_id
from demesh.identity import peer_id, read_or_make_node_key, read_swarm_key, write_secret
from demesh.invitation import Invitation, read_invitation
from demesh.log.store import Store
from demesh.swarm_key_files import SwarmKeyFiles


@click.command()
@click.argument("line", required=False, metavar="")
@click.option("--name", metavar="NAME", help="The node's name [default: as the invitation says, else the host name].")
@options.data_dir
def join(line: str | None, name: str | None, data_dir: str | None) -> None:
    """Join the mesh of an invitation, which is read from standard input.

    Makes the data directory: keys, mesh id and a configuration to edit. `demesh node run` then runs a member. Where a node
    of that mesh lives already, the peers are added, and the swarm key is brought up to date.

    \b
    Examples:
      demesh invite | ssh second demesh join
      demesh join --name nas < invitation
    """
    if line is not None:
        raise UsageError(
            "An invitation is not taken from the command line, where every user of this machine can read it. Pipe it in, "
            "or type `demesh join` and paste it. If others may have seen it, change the swarm key: demesh swarm-key rotate"
        )
    invitation = read_invitation(_read_line())
    home = find_home(data_dir)
    name = check_name(name) if name else None
    if name and home.config.exists():
        raise UsageError(
            f"{home.config} is there already and stays as it is; set the name in it, and leave out --name."
        )
    _refuse_another_mesh(home, invitation)
    home.make()
    with HomeLock(home):
        _refuse_another_mesh(home, invitation)
        _take(home, invitation, name)


def _read_line() -> str:
    if sys.stdin.isatty():
        return click.prompt("Invitation", hide_input=True, err=True, prompt_suffix=" (it is not shown): ")
    data = sys.stdin.buffer.readline(limits.INVITATION_BYTES_MAX)
    return data.decode("ascii", "replace")


def _take(home: Home, invitation: Invitation, name: str | None) -> None:
    """The mesh id is written last: what breaks off before can be done again."""
    member = home.mesh_id.exists()
    replaced = _take_key(home, invitation)
    own = peer_id(bytes(read_or_make_node_key(home.node_key).verify_key))
    added = len(invitation.peers)
    if home.config.exists():
        added = add_peers(home.config, invitation.peers)
    else:
        write_secret(home.config, config_text(name or invitation.name or default_name(), invitation.peers))
    if not member:
        write_secret(home.mesh_id, invitation.mesh_id.hex() + "\n")
    inviter = printable(invitation.inviter)
    mesh = invitation.mesh_id.hex()[:8]
    click.echo(f"{home.path} {'is' if member else 'is now'} a home of mesh {mesh}, by invitation of {inviter}")
    click.echo(f"  node       {own}")
    click.echo(f"  peers      {count(added, 'address', 'addresses')} added to {home.config}")
    if replaced:
        click.echo(f"  swarm key  {replaced} was replaced by {invitation.key.fingerprint}")
    click.echo("  start it   demesh node run")


def _take_key(home: Home, invitation: Invitation) -> str:
    """Have the invitation's swarm key in its place; returns the fingerprint of the one it replaced, if any."""
    named = os.environ.get("DEMESH_SWARM_KEY_FILE")
    elsewhere = read_settings(home.config).swarm_key_file if home.config.exists() else None
    files = SwarmKeyFiles(home, Path(named) if named else elsewhere)
    if not files.path.exists() and not files.elsewhere:
        write_secret(files.path, invitation.key.text())
        return ""
    keys = files.read()
    if invitation.key in keys.accepted:
        return ""
    if files.elsewhere:
        where = "DEMESH_SWARM_KEY_FILE" if named else f"swarm_key_file in {home.config}"
        raise UsageError(
            f"The swarm key is in {files.path}, as {where} says, and it is another one (fingerprint "
            f"{keys.current.fingerprint}) than the invitation's. Take that setting away, then join."
        )
    files.put(invitation.key)
    return keys.current.fingerprint


def _refuse_another_mesh(home: Home, invitation: Invitation) -> None:
    found = _mesh_of(home, invitation)
    if found not in (None, invitation.mesh_id):
        raise UsageError(
            f"{home.path} is a home of mesh {found.hex()[:8]} already, and the invitation is to mesh "
            f"{invitation.mesh_id.hex()[:8]}. Give the new node a directory of its own with --data-dir, or move this one away."
        )


def _mesh_of(home: Home, invitation: Invitation) -> bytes | None:
    """The mesh that the home is of; None if it is of none yet."""
    if home.mesh_id.exists():
        return read_mesh_id(home)
    if home.log_db.exists():
        with Store(home.log_db, readonly=True) as store:
            return store.mesh_id()
    if not home.swarm_key.exists():
        return None
    key = read_swarm_key(home.swarm_key)
    return None if key == invitation.key else key.first_mesh_id()
