"""`demesh backup` and `demesh restore`."""

from pathlib import Path

import click

from demesh.cli import options
from demesh.cli.progress import announce
from demesh.cli.terminal import count
from demesh.errors import NodeNotRunning
from demesh.home import HomeLock, MarkerFile, find_home, runtime_directory


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.data_dir
def backup(file: Path, data_dir: str | None) -> None:
    """Write the node's data directory to FILE: keys, configuration, checks and the store. Works while the node runs.

    \b
    Example:
      demesh backup nas-monday.tar
    """
    from demesh.backup import make_backup

    home = find_home(data_dir)
    if not home.exists:
        raise NodeNotRunning(f"There is no node at {home.path}. Name another with --data-dir.")
    announce("Copying", home.log_db)
    skipped = make_backup(home, file)
    for each in skipped:
        click.echo(f"Left out {each.path}: {each.why}.", err=True)
    click.echo(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).")
    click.echo("It holds the keys of this node and of the swarm in the clear: keep it as secret as they are.", err=True)


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
    click.echo(f"Restored {home.path}. Start it with: demesh node run --data-dir {home.path}")
    if home.log_db.exists():
        with Store(home.log_db, readonly=True) as store:
            states = store.logs()
        entries = sum(state.head.seq + 1 - state.pruned_to for state in states)
        click.echo(f"Its store holds {count(len(states), 'log')} with {count(entries, 'entry', 'entries')}.")
