"""`demesh backup` and `demesh restore`."""

from pathlib import Path

import click

from demesh.cli import options
from demesh.cli.find_swarm_key import configured_swarm_key, find_swarm_key
from demesh.cli.progress import announce
from demesh.cli.terminal import count
from demesh.errors import NodeNotRunning, UsageError
from demesh.home import HomeLock, MarkerFile, find_home, runtime_directory
from demesh.identity import SwarmKey, read_swarm_key
from demesh.swarm_key_files import SwarmKeyFiles


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.swarm_key_file
@options.data_dir
def backup(file: Path, swarm_key_file: str | None, data_dir: str | None) -> None:
    """Write the node's data directory to FILE: keys, configuration, checks and the store. Works while the node runs.

    A swarm key that the node has from elsewhere is written with the rest if it can be read; if not, that is said.

    \b
    Example:
      demesh backup nas-monday.tar
    """
    from demesh.backup import make_backup

    home = find_home(data_dir)
    if not home.exists:
        raise NodeNotRunning(f"There is no node at {home.path}. Name another with --data-dir.")
    announce("Copying", home.log_db)
    key_files = find_swarm_key(home, swarm_key_file, configured_swarm_key(home))
    key, why_not = _read(key_files)
    skipped = make_backup(home, file, key.text() if key and key_files.elsewhere else None)
    for each in skipped:
        click.echo(f"Left out {each.path}: {each.why}.", err=True)
    click.echo(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).")
    if key:
        click.echo(
            "It holds the keys of this node and of the swarm in the clear: keep it as secret as they are.", err=True
        )
        return
    click.echo(
        f"It holds the key of this node in the clear, and NOT the swarm key: {why_not} Keep that, too: a node that is restored "
        "from this wants it by --swarm-key-file. Or back up again with --swarm-key-file FILE.",
        err=True,
    )


def _read(files: SwarmKeyFiles) -> tuple[SwarmKey | None, str]:
    """The key as it is in its file; or why there is none."""
    try:
        return read_swarm_key(files.path), ""
    except UsageError as error:
        return None, str(error)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.data_dir
def restore(file: Path, data_dir: str | None) -> None:
    """Fill an empty data directory from the backup in FILE.

    The node then is the member it was, and begins a new epoch of its log, as it may have published more since the backup.
    Peers send it its old entries. Never run it beside the node that the backup is of: they are one member.

    \b
    Example:
      demesh restore nas-monday.tar
    """
    from demesh.backup import restore_backup
    from demesh.log.store import Store

    home = find_home(data_dir)
    home.make()
    with HomeLock(home):
        announce("Unpacking", file)
        restore_backup(home, file)
        MarkerFile(runtime_directory(), home).drop()
    configured = configured_swarm_key(home)
    lacking = not (configured or home.swarm_key).exists()
    option = " --swarm-key-file FILE" if lacking else ""
    click.echo(f"Restored {home.path}. Start it with: demesh node run --data-dir {home.path}{option}")
    if lacking and configured:
        click.echo(
            f"The swarm key is not at {configured}, which the configuration names: put it there, or name it as above."
        )
    elif lacking:
        click.echo("The swarm key is not in this backup: FILE is a copy of that of another node.")
    if home.log_db.exists():
        with Store(home.log_db, readonly=True) as store:
            states = store.logs()
        entries = sum(state.head.seq + 1 - state.pruned_to for state in states)
        click.echo(f"Its store holds {count(len(states), 'log')} with {count(entries, 'entry', 'entries')}.")
