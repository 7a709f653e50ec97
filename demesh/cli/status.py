"""`demesh status`: what the mesh knows, from this machine."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click

from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.table import Cell, flow, say, say_table, width
from demesh.cli.terminal import ago, count, printable
from demesh.clock import SystemClock
from demesh.config.duration import format_duration
from demesh.errors import NodeNotRunning
from demesh.home import Home, find_home, running_node

_GLYPHS = {"up": ("✔", "green"), "down": ("✖", "bold red"), "partial": ("◐", "yellow"), "unknown": ("?", "dim")}
_VOTES = {"pass": "✔", "fail": "✖", "unseen": "·"}
_PRESENCE = {"alive": ("✔", "green"), "suspect": ("?", "yellow"), "silent": ("✖", "bold red"), "away": ("☾", "dim")}
_COLUMNS = ("CHECK", "STATE", "SEEN BY", "LATENCY", "24 H", "30 D", "SINCE", "CERT")
"""Those that are empty for all checks are left out."""
_UNBROKEN = ("CHECK", "STATE", "LATENCY", "SINCE")
_COVERED = 0.9
_LACKS_SHOWN = 8
_EXIT_CODES = {"up": 0, "partial": 1, "down": 2, "unknown": 3}


@click.command()
@options.as_json
@options.node_url
@options.data_dir
def status(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """What the mesh knows now: checks, nodes, incidents. The same on every node.

    Without a running node it tells what the store last knew, and how long ago that was.

    Exits like a Nagios plug-in: 0 all up, 1 partial or a node silent, 2 down, 3 unknown or no node to ask.

    \b
    Examples:
      demesh status
      demesh status --json
    """
    home = find_home(data_dir)
    running = node_url or running_node(home)
    answer = ask("/api/v1/status", data_dir, node_url, dict) if running or not home.log_db.exists() else _stored(home)
    if not {"as_of", "checks", "nodes", "incidents"} <= answer.keys():
        raise NodeNotRunning("What answers there is no demesh node: its answer is not a status.")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(printable(answer))
    sys.exit(exit_code(answer))


def _stored(home: Home) -> dict[str, Any]:
    from demesh.stored import Stored

    with Stored(home) as stored:
        answer = stored.status()
    age = ago(answer["as_of"], datetime.fromtimestamp(SystemClock().wall_ms() / 1_000, UTC))
    click.echo(
        f"No node is running on {home.path}. This is what its store knew{f' {age} ago' if age else ''}:", err=True
    )
    return answer


def exit_code(answer: dict[str, Any]) -> int:
    """2 if anything is down, else 1 if anything is partial or a node silent, else 3 if anything is unknown, else 0."""
    codes = {_EXIT_CODES.get(check["state"], 3) for check in answer["checks"]}
    if any(node["presence"] == "silent" for node in answer["nodes"]):
        codes.add(1)
    return next((code for code in (2, 1, 3) if code in codes), 0)


def _print(answer: dict[str, Any]) -> None:
    now = datetime.fromisoformat(answer["as_of"])
    settling = "" if answer["settled"] else " · still settling"
    say((f"mesh {answer['mesh']} · {_counts(answer)} · asked: {answer['node']}{settling}{_unfinished(answer)}\n", ""))
    for line in (*_network_line(answer, now), *_lacks_line(answer)):
        say((f"{line}\n", "yellow"))
    if answer["checks"]:
        _print_checks(answer["checks"], now)
    else:
        say(("No checks yet. Name targets: demesh node run https://example.org, or add [[check]] to demesh.toml.", ""))
    nodes = [("nodes  ", "")]
    for node in answer["nodes"]:
        glyph, style = _PRESENCE.get(node["presence"], _GLYPHS["unknown"])
        quiet = f" {ago(node['seen_at'], now)}" if node["presence"] != "alive" else ""
        nodes.append((f"{node['name']} {glyph} {node['presence']}{quiet}   ", style))
    say()
    flow(nodes, width())
    for node in answer["nodes"]:
        for warned in node.get("warnings", ()):  # an older node tells none
            say((f"! {node['name']}, {ago(warned['at'], now)} ago: {warned['text']}", "yellow"))
    for incident in answer["incidents"]:
        known = "muted" if incident.get("muted") else "acknowledged" if incident.get("acknowledged") else ""
        text = f"! {incident['name']} {incident['subject']}, since {ago(incident['since'], now)}"
        say((f"{text} ({known})" if known else text, "yellow" if known else "bold red"))


def _print_checks(checks: list[dict[str, Any]], now: datetime) -> None:
    rows = [_check_cells(check, now) for check in checks]
    told = [index for index in range(len(_COLUMNS)) if any(row[index][0] for row in rows)]
    names = [_COLUMNS[index] for index in told]
    say_table(names, [[row[index] for index in told] for row in rows], _UNBROKEN, width())
    for check in checks:
        if origins := _origins(check):
            say((f"  ↳ {check['name']}", "dim"), (f": {origins}", ""))
        if details := _details(check):
            glyph, style = _GLYPHS.get(check["state"], _GLYPHS["unknown"])
            say((f"  {glyph} {check['name']}", style), (f": {details}", ""))


def _check_cells(check: dict[str, Any], now: datetime) -> list[Cell]:
    glyph, style = _GLYPHS.get(check["state"], _GLYPHS["unknown"])  # a newer node may know more states
    seen = " ".join(f"{each['node']}{_VOTES.get(each['vote'], '·')}" for each in check["vantages"])
    latencies = [each["latency_ms"] for each in check["vantages"] if each["vote"] == "pass" and each["latency_ms"]]
    expires = _time(check["certificate_expires_at"])
    return [
        (f"{glyph} {check['name']}", style),
        (check["state"], style),
        (seen, ""),
        (f"{sorted(latencies)[len(latencies) // 2]:.0f} ms" if latencies else "", ""),
        *((_uptime(check.get("uptime", {}).get(window), hours), "") for window, hours in (("24h", 24), ("30d", 720))),
        (ago(check["since"], now), ""),
        (_expiry(expires, now) if expires else "", ""),
    ]


def _details(check: dict[str, Any]) -> str:
    """What its vantages found, each finding once, after those who found it: `nas, vps: status 503; web: refused`."""
    found: dict[str, list[str]] = {}
    for each in check["vantages"]:
        if each["assigned"] and each["detail"]:
            found.setdefault(each["detail"], []).append(each["node"])
    return "; ".join(f"{', '.join(nodes)}: {detail}" for detail, nodes in found.items())


def _origins(check: dict[str, Any]) -> str:
    """From whom its vantages took it over: `nas, vps run it as fra has it`."""
    found: dict[str, list[str]] = {}
    for each in check["vantages"]:
        if origin := each.get("from"):
            found.setdefault(origin, []).append(each["node"])
    return "; ".join(f"{', '.join(nodes)} took it over from {origin}" for origin, nodes in found.items())


def _counts(answer: dict[str, Any]) -> str:
    def tell(items: list[dict[str, Any]], key: str) -> str:
        found: dict[str, int] = {}
        for item in items:
            found[item[key]] = found.get(item[key], 0) + 1
        return ", ".join(f"{number} {state}" for state, number in sorted(found.items()))

    nodes, checks = answer["nodes"], answer["checks"]
    return (
        f"{count(len(nodes), 'node')} ({tell(nodes, 'presence')}) · "
        f"{count(len(checks), 'check')}{': ' + tell(checks, 'state') if checks else ''}"
    )


def _uptime(uptime: dict[str, Any] | None, hours: int) -> str:
    """Rounded down, so that only what was always up is 100 %; and how much time was observed, if much of it was not."""
    if not uptime or uptime["ratio"] is None:
        return ""
    percent = f"{int(uptime['ratio'] * 10_000) / 100:g} %"
    if uptime["coverage"] >= _COVERED:
        return percent
    return f"{percent} of {format_duration(round(uptime['coverage'] * hours * 3_600_000))}"


def _unfinished(answer: dict[str, Any]) -> str:
    said = ""
    for what, name in (("logs", "logs"), ("history", "uptime")):
        progress = answer.get(what, {"complete": True})  # an older node does not say
        if not progress["complete"]:
            to_go = f", {count(progress['behind'], 'entry', 'entries')} to go" if progress["behind"] else ""
            said += f" · {name} not complete yet{to_go}"
    return said


def _lacks_line(answer: dict[str, Any]) -> list[str]:
    """Of whom not all is known yet, while a node catches up."""
    logs = answer.get("logs", {"complete": True})
    if logs["complete"] or not logs["lacks"]:
        return []
    lacks: list[dict[str, Any]] = logs["lacks"]
    said = [
        f"{each['node'] or 'a new log'} by {count(each['entries'], 'entry', 'entries')}"
        for each in lacks[:_LACKS_SHOWN]
    ]
    more = f", and {len(lacks) - _LACKS_SHOWN} more" if len(lacks) > _LACKS_SHOWN else ""
    return [f"! {answer['node']} still catches up; it is behind on {', '.join(said)}{more}."]


def _network_line(answer: dict[str, Any], now: datetime) -> list[str]:
    network = answer.get("network", {"running": True})
    if network["running"] or not network["problem"]:
        return []
    since = ago(network["down_since"], now)
    return [
        f"! {answer['node']} has no network for {since}, so what is said of other nodes is of then: {network['problem']} It "
        "tries again and again."
    ]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _expiry(expires: datetime, now: datetime) -> str:
    left_ms = round((expires - now).total_seconds() * 1_000)
    return format_duration(left_ms) if left_ms > 0 else "expired"
