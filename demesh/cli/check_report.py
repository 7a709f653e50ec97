"""What `demesh check list` and `demesh check validate` say of a configuration.

No secret is in it: targets are shown in their public form.
"""

import sys
from collections import Counter
from typing import Any

import click

from demesh.checks.placement import takeover_ms
from demesh.cli.table import say_table, width
from demesh.cli.terminal import count, printable
from demesh.config.duration import format_duration
from demesh.config.estimate import estimate
from demesh.config.lists import ListDocument
from demesh.config.load import Loaded
from demesh.config.size import format_size

Json = dict[str, Any]
_LISTED_SHOWN_MAX = 20
"""Of one list of servers; a longer one is told as a sum."""
_ADOPTED = ("name", "type", "target", "interval_ms", "deadline_ms", "nodes", "spread", "from", "runs_here")


def rows(loaded: Loaded) -> list[Json]:
    """One row a check, in the order of the files; what cannot be told of one that is not valid is None."""
    config = loaded.configuration.config
    node = (loaded.settings.name, loaded.settings.tags) if loaded.settings else None
    if node is None and config and config.node.name:
        node = (config.node.name, tuple(config.node.tags))
    return [
        {
            "name": read.name,
            "type": read.type,
            "target": check.public_target if check else None,
            "interval_ms": check.interval_ms if check else None,
            "deadline_ms": check.deadline_ms if check else None,
            "nodes": list(check.nodes) if check else None,
            "spread": check.spread or None if check else None,
            "from": None,
            "state": _state(check is not None, check is not None and check.enabled),
            "runs_here": bool(check and node and check.runs_on(*node)),
            "file": str(read.document.path),
            "line": read.document.line(read.place),
            "listed": isinstance(read.document, ListDocument),
        }
        for read, check in loaded.checks
    ]


def adopted_rows(held: list[Json]) -> list[Json]:
    """Rows of the checks that a running node took over from other members; `held` are all that it holds."""
    return [
        {**{key: each.get(key) for key in _ADOPTED}, "state": "on", "file": None, "line": None}
        for each in held
        if each.get("from")
    ]


def report(loaded: Loaded) -> Json:
    """What is wrong; or what the configuration does, what it costs, and what is left out of its lists."""
    settings = loaded.settings
    answer: Json = {
        "problems": loaded.problems,
        "checks": rows(loaded),
        "totals": None,
        "takeover_ms": None,
        "warnings": [],
    }
    if settings:
        if any(check.spread for check in settings.checks):
            answer["takeover_ms"] = takeover_ms(settings.flush_interval_ms)
        here = [check for check in settings.checks if check.runs_on(settings.name, settings.tags)]
        cost = estimate(here, settings.flush_interval_ms)
        answer["totals"] = {
            "checks": len(loaded.checks),
            "run_here": cost.checks,
            "checks_per_minute": round(cost.checks_per_minute, 1),
            "log_bytes_per_day": cost.log_bytes_per_day,
        }
        answer["warnings"] = list(settings.warnings)
    return answer


def print_rows(found: list[Json]) -> None:
    """`demesh check list`."""
    if not found:
        click.echo("No checks. Add one: demesh check add blog https://blog.example.net")
        return
    found, sums = _shortened(found)
    origins = any(row["from"] for row in found)
    _print_table(
        ("CHECK", "TYPE", "TARGET", "INTERVAL", "NODES", "STATE", *(("FROM",) if origins else ())),
        [
            (
                *(row["name"], row["type"], row["target"], _duration(row["interval_ms"]), _nodes(row), row["state"]),
                *((row["from"] or "",) if origins else ()),
            )
            for row in printable(found)
        ],
    )

    click.echo("\n".join(sums), nl=bool(sums))


def _shortened(found: list[Json]) -> tuple[list[Json], list[str]]:
    """`found` without those of long lists of servers, and a sentence on each of these."""
    many = Counter(row["file"] for row in found if row.get("listed"))
    long = {file: number for file, number in many.items() if number > _LISTED_SHOWN_MAX}
    sums = [f"{count(number, 'check')} more of {printable(file)}; --json shows them." for file, number in long.items()]
    return [row for row in found if not (row.get("listed") and row["file"] in long)], sums


def print_report(answer: Json) -> None:
    """`demesh check validate`, of a configuration without problems."""
    found, totals = printable(answer["checks"]), answer["totals"]
    found, sums = _shortened(found)
    if found:
        _print_table(
            ("CHECK", "TYPE", "TARGET", "INTERVAL", "DEADLINE", "VANTAGES", "STATE"),
            [
                (
                    row["name"],
                    row["type"],
                    row["target"],
                    _duration(row["interval_ms"]),
                    _duration(row["deadline_ms"]),
                    _nodes(row),
                    row["state"],
                )
                for row in found
            ],
        )
        click.echo()
    click.echo("\n".join(sums), nl=bool(sums))
    click.echo(
        f"{count(totals['checks'], 'check')}, of which {totals['run_here']} here: "
        f"{totals['checks_per_minute']:g} checks a minute, about {format_size(totals['log_bytes_per_day'])} a day "
        "in this node's log."
    )
    if answer["takeover_ms"] is not None:
        click.echo(
            "Of a check with spread, as many nodes run it as it says. Should one of them be killed, another begins within "
            f"{_duration(answer['takeover_ms'])}, as long as all flush at this node's interval: where all that run it are gone "
            "at once, with spread = 1 always, the deadline is longer by that."
        )
    for sentence in printable(answer["warnings"]):
        click.echo(f"left out: {sentence}")


def _state(valid: bool, enabled: bool) -> str:
    if not valid:
        return "invalid"
    return "on" if enabled else "paused"


def _nodes(row: Json) -> str:
    here = (" (perhaps here)" if row["spread"] and not row["from"] else " (here)") if row["runs_here"] else ""
    spread = f"{row['spread']} of " if row["spread"] else ""
    return spread + ", ".join(row["nodes"]) + here if row["nodes"] else ""


def _duration(ms: int | None) -> str:
    return format_duration(ms) if ms is not None else ""


def _print_table(header: tuple[str, ...], lines: list[tuple[str | None, ...]]) -> None:
    fits = width() if sys.stdout.isatty() else None  # a file has no width, and a program wants each check on one line
    rows = [[(cell or "", "") for cell in line] for line in lines]
    say_table(header, rows, ("CHECK", "STATE"), fits, gap=3)
