"""`demesh log heads|verify`."""

import json
import sys
from typing import Any

import click

from demesh.cli import options
from demesh.cli.terminal import count, printable
from demesh.errors import NodeNotRunning
from demesh.home import Home, find_home, running_node


@click.group()
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
        click.echo(f"{row['log']}  {row['node'] or '?':<16} seq {row['seq']:>8}  {row['hash'][:16]}")


@log.command()
@options.as_json
@options.data_dir
def verify(as_json: bool, data_dir: str | None) -> None:
    """Check every entry in the store: bytes, links and signatures. Exits 1 and names each bad entry if there is one.

    Works while the node is running.

    \b
    Example:
      demesh log verify
    """
    from demesh.log.audit import audit
    from demesh.log.store import Store

    home = find_home(data_dir)
    _require_store(home)
    faults: list[dict[str, Any]] = []
    entries = 0
    with Store(home.log_db, readonly=True) as store, store.snapshot():
        states = store.logs()
        for state in states:
            entries += state.head.seq + 1 - state.pruned_to
            found = audit(store.mesh_id(), state, store.each(state.log))
            faults.extend({"log": each.log.hex(), "seq": each.seq, "fault": each.sentence} for each in found)
    if as_json:
        click.echo(json.dumps({"logs": len(states), "entries": entries, "faults": faults}, indent=2))
    else:
        for fault in faults:
            click.echo(f"log {fault['log'][:8]} entry {fault['seq']}: {fault['fault']}")
        found = count(len(faults), "fault") if faults else "all intact"
        click.echo(f"{count(len(states), 'log')}, {count(entries, 'entry', 'entries')}: {found}")
    sys.exit(1 if faults else 0)


def _stored_heads(home: Home) -> list[dict[str, Any]]:
    from demesh.log.replay import startup_entries
    from demesh.log.store import Store
    from demesh.view.fold import View
    from demesh.view.report import heads as shape

    _require_store(home)
    with Store(home.log_db, readonly=True) as store:
        states = store.logs()
        view = View(b"", 0)
        for state in states:
            view.load(state.public_key, startup_entries(store, state))
    click.echo(f"No node is running on {home.path}: this is what its store holds.", err=True)
    return shape(view, sorted(states, key=lambda state: state.log))


def _require_store(home: Home) -> None:
    if not home.log_db.exists():
        raise NodeNotRunning(
            f"There is no log at {home.path}. Start a node with `demesh node run`, or name another with --data-dir."
        )
