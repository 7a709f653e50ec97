"""`python -m tests.bench [NAME …] [--quick] [--json]`: measure, and print a table (docs/benchmarks.md)."""

import json
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from tests.bench.figure import Figure, table
from tests.bench.registry import ON_REQUEST, USUAL
from tests.bench.scope import Scope


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*USUAL, *ON_REQUEST]))
@click.option("--quick", is_flag=True, help="Small numbers, to see that it works; the figures mean little.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead of a table.")
def main(names: Sequence[str], quick: bool, as_json: bool) -> None:
    """Measure what demesh costs, next to its peers where they are installed."""
    benchmarks = {**USUAL, **ON_REQUEST}
    figures: list[Figure] = []
    failed: list[str] = []
    loads = [os.getloadavg()[0]]
    for name in names or USUAL:
        click.echo(f"measuring {name} …", err=True)
        with tempfile.TemporaryDirectory(prefix="demesh-bench-") as place:
            try:
                figures += benchmarks[name](Scope(Path(place), quick))
            except Exception:  # noqa: BLE001 the others are measured all the same
                failed.append(name)
                traceback.print_exc()
        loads.append(os.getloadavg()[0])
    if as_json:
        click.echo(
            json.dumps(
                {"quick": quick, "load_average_max": max(loads), "figures": [figure.document() for figure in figures]},
                indent=2,
            )
        )
    else:
        click.echo(_machine())
        click.echo(f"load average from {min(loads):.1f} to {max(loads):.1f}", nl=False)
        click.echo(": others use this machine; wall times mean little" if max(loads) > (os.cpu_count() or 1) else "")
        if quick:
            click.echo("quick run: the figures mean little")
        click.echo(f"\n{table(figures)}")
    if failed:
        click.echo(f"not measured: {', '.join(failed)}", err=True)
        sys.exit(1)


def _machine() -> str:
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpus[0].partition(":")[2].strip() if cpus else platform.machine()
    return f"{len(cpus) or '?'} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
