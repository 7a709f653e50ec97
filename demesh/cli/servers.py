"""`demesh servers`: public servers in order, best first, and lists of them."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from demesh.address import address_text
from demesh.cli import LazyGroup, options
from demesh.cli.client import ask
from demesh.cli.table import Cell, say_table, width
from demesh.cli.terminal import count, printable
from demesh.errors import UsageError

_T = TypeVar("_T")
_TITLES = {"stun": "STUN", "stun-nat": "STUN (NAT behaviour)", "turn": "TURN", "mqtt": "MQTT", "ntp": "NTP"}
_STYLES = {"up": ("✔", "green"), "down": ("✖", "bold red"), "partial": ("◐", "yellow"), "flapping": ("↯", "yellow")}
_VOTES = {"pass": "✔", "fail": "✖"}
_FORMATS = ("text", "csv", "json", "p2pd")
_COLUMNS = ("", "SERVER", "SCORE", "DOGDORM", "STATE", "SEEN BY", "UPTIME", "LATENCY")
_WITH_DOGDORM_WIDTH_MIN = 100  # in less, names of servers would be broken
_UNBROKEN = ("", "SCORE", "DOGDORM", "STATE", "UPTIME", "LATENCY")
_CSV = (
    "type",
    "family",
    "transport",
    "host",
    "port",
    "over",
    "address",
    "other_address",
    "state",
    "score",
    "dogdorm",
    "uptime",
    "observed_ms",
    "latency_ms",
)


_SUBCOMMANDS = {
    "import": "demesh.cli.servers_import:import_",
    "parked": "demesh.cli.servers_parked:parked",
    "retry": "demesh.cli.servers_parked:retry",
}


@click.group(cls=LazyGroup, lazy=_SUBCOMMANDS, invoke_without_command=True)
@click.option("--type", "type_", type=click.Choice(list(_TITLES)), help="Only servers of this type.")
@click.option("--family", type=click.Choice(["4", "6"]), help="Only IPv4, or only IPv6.")
@click.option("--limit", type=click.IntRange(min=1), help="So many of each type, family and transport.")
@click.option("--format", "format_", type=click.Choice(_FORMATS), help="How to print them [default: text].")
@click.option("--csv", "as_csv", is_flag=True, help="Short for --format csv: with a header line.")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@options.node_url
@options.data_dir
@click.pass_context
def servers(
    context: click.Context,
    type_: str | None,
    family: str | None,
    limit: int | None,
    format_: str | None,
    as_csv: bool,
    as_json: bool,
    node_url: str | None,
    data_dir: str | None,
) -> None:
    """Public servers (STUN, TURN, MQTT, NTP) that the mesh checks, best first, and lists of them.

    SCORE is from 0 to 1: what all vantages observed, newer days more than older ones, and what they say now (docs/servers.md). It
    is worked out once a minute; `new` for an hour or two, until something is recorded. DOGDORM is what Dogdorm would say, whose
    score forgets nothing; it is shown where there are 100 columns. UPTIME is of the time that was observed. --format p2pd prints
    Python for the settings of p2pd: servers that are up, without credentials.

    \b
    Examples:
      demesh servers
      demesh servers --type ntp --limit 10
      demesh servers --csv > servers.csv
      demesh servers --format p2pd > servers.py
    """
    if context.invoked_subcommand is not None:
        return
    asked = {"type": type_, "family": family, "limit": limit}
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    chosen = {each for each in (format_, "csv" * as_csv, "json" * as_json) if each}
    if len(chosen) > 1:
        raise UsageError("--format, --csv and --json say different things; choose one of them.")
    told = ask(f"/api/v1/servers?{query}", data_dir, node_url, dict)
    _WRITERS[chosen.pop() if chosen else "text"](told)


def _write_text(told: dict[str, Any]) -> None:
    _print(printable(told["servers"]))


def _write_csv(told: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((*_CSV, "vantages"))
    for each in printable(told["servers"]):
        dogdorm = each.get("dogdorm")
        flat = {
            **each,
            "score": f"{each['score']['value']:.6f}",
            "dogdorm": f"{dogdorm['score']:.6f}" if dogdorm else None,
        }
        vantages = " ".join(f"{one['node']}={one['vote']}" for one in each["vantages"] if one["counts"])
        writer.writerow([_plain(each) for each in (*(flat.get(key) for key in _CSV), vantages)])


def _plain(cell: Any) -> Any:
    """What a spreadsheet takes for no formula: names and addresses are what other members say."""
    if cell is None:
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def _write_json(told: dict[str, Any]) -> None:
    click.echo(json.dumps(told, indent=2))


def _write_p2pd(told: dict[str, Any]) -> None:
    from demesh.servers.p2pd import settings

    click.echo(settings(told["servers"]), nl=False)


def _print(told: list[dict[str, Any]]) -> None:
    if not told:
        click.echo(
            "No check of a public server. [[server_list]] in the configuration makes checks of a list of them.",
            err=True,
        )
        return
    listed = [each for each in told if each["state"] != "parked"]
    fits = width()
    left_out = () if fits >= _WITH_DOGDORM_WIDTH_MIN else (_COLUMNS.index("DOGDORM"),)
    columns = _but(_COLUMNS, left_out)
    for number, (place, found) in enumerate(groupby(sorted(listed, key=_place), key=_place)):
        type_, family, transport = place
        if number:
            click.echo()
        click.echo(f"{_TITLES.get(type_, type_)} · {family} · {transport}")
        servers = list(found)
        rows = [
            _but([(str(rank), "dim"), (label, ""), *_cells(each)], left_out)
            for rank, (label, each) in enumerate(zip(_labels(servers), servers, strict=True), 1)
        ]
        say_table(columns, rows, _UNBROKEN, fits)
    if parked := len(told) - len(listed):
        many = count(parked, "server that never answered is", "servers that never answered are")
        click.echo(f"{many} left out; `demesh servers parked` lists them.", err=True)


def _but(cells: Sequence[_T], left_out: Collection[int]) -> list[_T]:
    return [each for index, each in enumerate(cells) if index not in left_out]


def _place(server: dict[str, Any]) -> tuple[str, str, str]:
    return server["type"], server["family"], server["transport"].upper()


def _labels(servers: Sequence[dict[str, Any]]) -> list[str]:
    """Host and port of each; where two of one list have the same also what they are asked over, or else the check's name."""
    told = [address_text(each["host"], each["port"]) for each in servers]
    over = [f"{label} ({each.get('over') or '?'})" for label, each in zip(told, servers, strict=True)]
    many, many_over = Counter(told), Counter(over)
    return [
        label if many[label] == 1 else longer if many_over[longer] == 1 else f"{label} ({each['name']})"
        for label, longer, each in zip(told, over, servers, strict=True)
    ]


def _cells(server: dict[str, Any]) -> list[Cell]:
    glyph, style = _STYLES.get(server["state"], ("?", "dim"))  # a newer node may know more
    seen = " ".join(
        f"{each['node']}{_VOTES.get(each['vote'], '·')}" if each["counts"] else f"({each['node']})"
        for each in server["vantages"]
    )
    uptime, latency_ms, dogdorm = server["uptime"], server["latency_ms"], server.get("dogdorm")
    return [
        _score(server["score"]),
        (f"{dogdorm['score']:.3f}" if dogdorm else "", "dim"),
        (f"{glyph} {server['state']}", style),
        (seen, ""),
        (f"{100 * uptime:.2f} %" if uptime is not None else "", ""),
        (f"{latency_ms:.0f} ms" if latency_ms is not None else "", ""),
    ]


def _score(score: dict[str, Any]) -> Cell:
    return ("new", "dim") if score["record"] is None else (f"{score['value']:.3f}", "")


_WRITERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "text": _write_text,
    "csv": _write_csv,
    "json": _write_json,
    "p2pd": _write_p2pd,
}
