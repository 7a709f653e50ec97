"""`python -m tests.load [--minutes N]`: three nodes check many STUN, NTP and MQTT servers that are well (docs/benchmarks.md)."""

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from demesh import limits
from tests.bench.figure import aligned, number
from tests.load.measuring import Late, NodeSeen, Plan, Seen, measure

_HOUR = 3_600
_MEASURES = (
    "WHAT",
    "CPU time a minute",
    "of a core",
    "in the worst minute",
    "resident, at most",
    "results a minute",
    "not passed, of all",
    "slots missed, of all",
    f"late by {limits.LATENESS_NOTED_MS} ms",
    "the latest",
    "late while warming up",
    "the latest",
    "entries an hour",
    "signed an hour",
    "log.db in the end",
)


def report(seen: Seen) -> str:
    """What is printed of a run."""
    plan, first = seen.plan, seen.nodes[0].name
    shortest, longest = (number(pick(seen.rankings)) for pick in (min, max))
    lines = [
        f"{plan.targets:,} servers at {plan.interval} s, each checked by {plan.spread} of {len(seen.nodes)} nodes; "
        f"{number(plan.window / 60)} minutes, after {number(plan.warm_up / 60)} of warming up",
        f"load average from {min(seen.loads):.1f} to {max(seen.loads):.1f}, with {os.cpu_count()} cores",
        "",
        aligned(list(zip(_MEASURES, *(_column(node, plan.window) for node in seen.nodes), strict=True))),
        "",
        f"rankings on {first}: {len(seen.rankings)}, {shortest} to {longest} s; meanwhile {_late(seen.ranked_late)}",
        "servers, of a core: "
        + ", ".join(f"{name} {number(100 * used / plan.window)} %" for name, used in seen.servers_cpu_seconds.items()),
        f"checks in the end: {', '.join(f'{count:,} {state}' for state, count in seen.states.most_common())}; "
        f"{seen.unasked:,} targets not asked by all who should",
    ]
    for node in seen.nodes:
        lines += [f"{node.name}: {count} × {what}" for what, count in node.not_passed.most_common()]
    return "\n".join(lines)


def _column(node: NodeSeen, window: float) -> Sequence[str]:
    return (
        node.name,
        f"{number(60 * node.cpu_seconds / window)} s",
        f"{number(100 * node.cpu_seconds / window)} %",
        f"{number(node.cpu_seconds_worst_minute)} s",
        f"{number(node.peak_mb)} MB",
        number(round(60 * node.window.results / window)),
        number(node.not_passed.total()),
        number(node.missed),
        f"{node.window.late:,}",
        f"{node.window.worst_ms:,} ms",
        f"{node.warming.late:,} of {node.warming.results:,}",
        f"{node.warming.worst_ms:,} ms",
        number(round(_HOUR * node.entries / window)),
        f"{number(_HOUR * node.signed_bytes / window / 1_000)} kB",
        f"{number(node.store_bytes / 1_000)} kB",
    )


def _late(late: Late) -> str:
    return f"{late.late:,} of {late.results:,} late, worst {late.worst_ms:,} ms"


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=10, show_default=True, help="Of the window that is measured."
)
@click.option("--warm-up", type=click.FloatRange(min=0), default=2, show_default=True, help="Minutes before it.")
@click.option("--targets", type=click.IntRange(4, 10_000), default=1_700, show_default=True)
@click.option(
    "--interval", type=click.IntRange(5), default=60, show_default=True, help="Seconds between two runs of a check."
)
@click.option(
    "--spread", type=click.IntRange(1, 3), default=1, show_default=True, help="How many of the three nodes run each."
)
def main(minutes: float, warm_up: float, targets: int, interval: int, spread: int) -> None:
    """Print what each node takes. Exits 1 if a run did not pass, or a slot was missed, though all servers are well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end, too
    plan = Plan(targets, interval, spread, 60 * warm_up, 60 * minutes)
    with tempfile.TemporaryDirectory(prefix="demesh-load-") as place:
        seen = measure(Path(place), plan, partial(click.echo, err=True))
    click.echo(report(seen))
    sys.exit(not seen.good)


if __name__ == "__main__":
    main()
