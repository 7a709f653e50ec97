"""`demesh log heads|tail|export|verify|repair`."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from demesh.cli import LazyGroup, options
from demesh.cli.progress import Progress, announce
from demesh.cli.terminal import count, printable
from demesh.errors import StoreError, UsageError
from demesh.home import Home, HomeLock, MarkerFile, find_home, read_mesh_id, running_node, runtime_directory

if TYPE_CHECKING:
    from demesh.log.repair import Survey
    from demesh.log.store import Store


@click.group(cls=LazyGroup, lazy={"tail": "demesh.cli.log_read:tail", "export": "demesh.cli.log_read:export"})
def log() -> None:
    """The logs this node holds: its own and every other member's."""


@log.command()
@options.as_json
@options.node_url
@options.data_dir
def heads(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """The newest entry of every log. Equal on two nodes exactly when they hold the same logs.

    \b
    Example:
      demesh log heads --json
    """
    home = find_home(data_dir)
    if node_url or running_node(home):
        from demesh.cli.client import ask

        rows = ask("/api/v1/log/heads", data_dir, node_url, list)
    else:
        rows = _stored_heads(home)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in printable(rows):
        forked = f"  forked at {row['forked_at']}" if row.get("forked_at") is not None else ""
        click.echo(f"{row['log']}  {row['node'] or '?':<16} seq {row['seq']:>8}  {row['hash'][:16]}{forked}")


@log.command()
@options.as_json
@options.data_dir
def verify(as_json: bool, data_dir: str | None) -> None:
    """Check every entry in the store: bytes, links and signatures. Names each bad one. Works while the node is running.

    Exits with 0 if all is intact, 1 if something is wrong, 2 if the store cannot be read at all, 3 if there is none.

    \b
    Example:
      demesh log verify --json
    """
    from demesh.log.audit import audit

    home = find_home(data_dir)
    faults: list[dict[str, Any]] = []
    try:
        with open_store(home) as store, store.snapshot():
            states, mesh_id = store.logs(), store.mesh_id()
            file_faults = store.file_faults()
            progress = Progress(sum(each.head.seq + 1 - each.pruned_to for each in states), "entry", "entries")
            for state in states:
                found = audit(mesh_id, state, progress.through(store.each(state.log)))
                faults.extend({"log": each.log.hex(), "seq": each.seq, "fault": each.sentence} for each in found)
    except StoreError as error:
        raise UsageError(str(error)) from error
    progress.end()
    entries = progress.done
    if as_json:
        answer = {"logs": len(states), "entries": entries, "faults": faults, "file_faults": file_faults}
        click.echo(json.dumps(answer, indent=2))
    else:
        for line in file_faults:
            click.echo(f"the file: {line}")
        for fault in faults:
            click.echo(f"log {fault['log'][:8]} entry {fault['seq']}: {fault['fault']}")
        number = len(faults) + len(file_faults)
        found = f"{count(number, 'fault')}; see demesh log repair" if number else "all intact"
        click.echo(f"{count(len(states), 'log')}, {count(entries, 'entry', 'entries')}: {found}")
    sys.exit(1 if faults or file_faults else 0)


@log.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done. Exits with 1 if that is anything.")
@options.data_dir
def repair(dry_run: bool, data_dir: str | None) -> None:
    """Save what is intact of a damaged store. The node must be stopped.

    Each log is cut back to the last entry in front of its first fault; peers send the rest again. If nothing is left in front,
    what is behind is kept. Nothing is signed anew: the node begins a new epoch of its own log. The damaged store stays
    beside the new one.

    \b
    Examples:
      demesh log repair --dry-run
      demesh log repair
    """
    from demesh.log.repair import rebuild, survey

    home = find_home(data_dir)
    home.require_store()
    with HomeLock(home):
        mesh_id = read_mesh_id(home)
        announce("Reading all of", home.log_db)
        found = survey(home.log_db, mesh_id)
        for line in _finding_lines(found):
            click.echo(line)
        if not found.is_intact and not dry_run:
            aside = rebuild(home.log_db, mesh_id, found)
            MarkerFile(runtime_directory(), home).drop()
            click.echo(f"Repaired. The damaged store is {aside} now; remove it when you need it no more.")
            click.echo("The next start of the node begins a new epoch of its log.")
    sys.exit(1 if dry_run and not found.is_intact else 0)


def _finding_lines(found: "Survey") -> Iterator[str]:
    if found.is_intact:
        yield "Nothing to repair: all is intact."
    for line in found.file_faults:
        yield f"the file: {line}"
    if found.logs is None:
        yield "Nothing in it can be read: the node begins with an empty store, and peers send what they have."
    for each in found.logs or ():
        log, own = each.state.log.hex()[:8], " (this node's own)" if each.is_own else ""
        for fault in each.faults:
            yield f"log {log}{own} entry {fault.seq}: {fault.sentence}"
        if each.head is None:
            yield f"log {log}{own}: nothing whole is left; it is forgotten"
        elif each.first > each.state.pruned_to:
            yield f"log {log}{own}: nothing in front of entry {each.first} can stay; the log begins there then"
        if each.head and each.removed:
            first, last = each.removed
            yield f"log {log}{own}: entries {first} to {last} go, entry {each.head.seq} is its head then"


def _stored_heads(home: Home) -> list[dict[str, Any]]:
    from demesh.stored import Stored

    with Stored(home) as stored:
        click.echo(f"No node is running on {home.path}: this is what its store holds.", err=True)
        return stored.heads()


def open_store(home: Home) -> "Store":
    """The store for reading. Raises NodeNotRunning if there is none, StoreError."""
    from demesh.log.store import Store

    home.require_store()
    return Store(home.log_db, readonly=True)
