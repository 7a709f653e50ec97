"""`python -m tests.load [--minutes N]`: three nodes check many STUN, NTP and MQTT servers that are well (docs/benchmarks.md)."""

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from tests.bench.figure import aligned, number
from tests.load.measuring import Late, NodeSeen, Plan, Seen, measure

_HOUR = 3_600
_HEADER = (
    "NODE",
    "CPU S A MINUTE",
    "OF A CORE",
    "WORST MINUTE",
    "PEAK",
    "RESULTS A MINUTE",
    "NOT PASSED",
    "MISSED",
    "LATE",
    "WORST",
    "WARMING UP",
    "ENTRIES AN HOUR",
    "SIGNED AN HOUR",
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
        aligned([_HEADER, *(_row(node, plan.window) for node in seen.nodes)]),
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


def _row(node: NodeSeen, window: float) -> Sequence[str]:
    return (
        node.name,
        number(60 * node.cpu_seconds / window),
        f"{number(100 * node.cpu_seconds / window)} %",
        number(node.cpu_seconds_worst_minute),
        f"{number(node.peak_mb)} MB",
        number(round(60 * node.window.results / window)),
        number(node.not_passed.total()),
        number(node.missed),
        number(node.window.late),
        f"{node.window.worst_ms:,} ms",
        _late(node.warming),
        number(round(_HOUR * node.entries / window)),
        f"{number(_HOUR * node.signed_bytes / window / 1_000)} kB",
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
