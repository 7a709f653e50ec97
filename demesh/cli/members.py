"""`demesh members [forget]`: who is in the mesh, from this node's side."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click

from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.table import Cell, say_table, width
from demesh.cli.terminal import ago, count, printable
from demesh.clock import SystemClock
from demesh.config.duration import format_duration
from demesh.home import find_home, running_node

_GLYPHS = {
    "alive": ("✔", "green"),
    "suspect": ("?", "yellow"),
    "silent": ("✖", "bold red"),
    "away": ("☾", "dim"),
    "left": ("–", "dim"),
}
_COLUMNS = ("MEMBER", "PRESENCE", "SEEN", "ADDRESS", "RTT", "SKEW", "HEAD", "LAG", "VERSION", "TAGS", "PEER ID")
"""Those that are empty for all members are left out."""
_UNBROKEN = ("MEMBER", "PRESENCE", "SEEN", "RTT", "SKEW", "HEAD", "LAG")
_WIDTH_OF_ALL = 150
_SPARED = ("PEER ID", "TAGS", "VERSION")
"""What a narrower terminal does without, but for the end of the peer id: `--json` has it all."""
_SKEW_SHOWN_MS = 1_000


@click.group(invoke_without_command=True)
@click.option("--all", "everyone", is_flag=True, help="Also those that have left.")
@options.as_json
@options.node_url
@options.data_dir
@click.pass_context
def members(context: click.Context, everyone: bool, as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """Who is in the mesh: presence, connections, clocks, and how far their logs are held here.

    RTT is of the last ping over a direct connection. SKEW is by how much that wall clock is ahead of this node's, shown from one
    second on. LAG is how many entries this node is behind what any of its peers holds.

    \b
    Examples:
      demesh members
      demesh members --all --json
      demesh members forget old-nas
    """
    if context.invoked_subcommand is not None:
        return
    home = find_home(data_dir)
    running = node_url or running_node(home)
    told = (
        ask("/api/v1/members", data_dir, node_url, list) if running or not home.log_db.exists() else _stored(data_dir)
    )
    shown = [each for each in told if everyone or each["presence"] != "left"]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    _print(printable(shown), datetime.fromtimestamp(SystemClock().wall_ms() / 1_000, UTC))
    if left := len(told) - len(shown):
        click.echo(f"{count(left, 'member has', 'members have')} left; --all shows them.", err=True)


@members.command()
@click.argument("member", metavar="NAME|PEER_ID")
@options.node_url
@options.data_dir
def forget(member: str, node_url: str | None, data_dir: str | None) -> None:
    """Take a member that is gone for good out of the mesh, on all nodes.

    It counts nowhere any more, and what was told of its silence ends. What it wrote is kept. If it is heard of again, it is a
    member again: `mesh.deny` in the configuration turns one away for good.

    Exits 0 once the mesh is told, 2 if there is no such member, or it is alive.

    \b
    Examples:
      demesh members forget old-nas
      demesh members forget 12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust
    """
    ask(f"/api/v1/members/forget?member={quote(member, safe='')}", data_dir, node_url, dict, method="POST")
    click.echo(f"Forgot {printable(member)}; the other nodes learn of it.")


def _stored(data_dir: str | None) -> list[dict[str, Any]]:
    from demesh.stored import Stored

    home = find_home(data_dir)
    with Stored(home) as stored:
        told = stored.members()
    click.echo(f"No node is running on {home.path}. This is what its store knows:", err=True)
    return told


def _print(told: list[dict[str, Any]], now: datetime) -> None:
    rows = [_cells(each, now) for each in told]
    spared = () if width() >= _WIDTH_OF_ALL else _SPARED
    columns = [
        index for index, name in enumerate(_COLUMNS) if name not in spared and any(row[index][0] for row in rows)
    ]
    names = [_COLUMNS[index] for index in columns]
    say_table(names, [[row[index] for index in columns] for row in rows], _UNBROKEN, width())


def _cells(member: dict[str, Any], now: datetime) -> list[Cell]:
    glyph, style = _GLYPHS.get(member["presence"], ("?", "dim"))  # a newer node may know more
    skew_ms, rtt_ms = member["clock_skew_ms"], member["rtt_ms"]
    away = "" if member["connected"] or member["self"] or not member["address"] else "(not connected) "
    return [
        (f"{member['name']}{' (this node)' if member['self'] else ''}", style),
        (f"{glyph} {member['presence']}", style),
        ("" if member["self"] else ago(member["seen_at"], now), ""),
        (f"{away}{member['address'] or ''}", "" if member["connected"] else "dim"),
        (f"{rtt_ms:.0f} ms" if rtt_ms is not None else "", ""),
        (_skew(skew_ms) if skew_ms is not None and abs(skew_ms) >= _SKEW_SHOWN_MS else "", "yellow"),
        (str(member["head_seq"]), ""),
        (str(member["lag_entries"]) if member["lag_entries"] else "", "yellow"),
        (member["version"] or "", ""),
        (" ".join(member["tags"]), ""),
        (member["peer_id"], "dim"),
    ]


def _skew(skew_ms: int) -> str:
    return f"{'+' if skew_ms > 0 else '−'}{format_duration(abs(skew_ms))}"
