"""`python -m tests.churn [--minutes N]`: ten real nodes, six of which come and go; does what the others hold grow?"""

import random
import signal
import sys
import tempfile
from pathlib import Path

import click

from tests.churn.churning import Size, sentence
from tests.churn.growth import table
from tests.churn.run import churn

_SIZE = Size(survivors=4, regulars=4, visitors=2, away_seconds=25)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=1), default=30, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of what happens; not of when exactly.")
def main(minutes: float, seed: int) -> None:
    """Print a table of what the surviving nodes held. Exits 1 if any of it grew by more than its bound."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end, too
    with tempfile.TemporaryDirectory(prefix="demesh-churn-") as place:
        seen = churn(Path(place), _SIZE, 60 * minutes, random.Random(seed), lambda line: click.echo(line, err=True))
    click.echo(f"{sentence(seen.happened, seen.whole)}\n")
    click.echo(table(seen.verdicts))
    sys.exit(not all(verdict.flat for verdict in seen.verdicts))


if __name__ == "__main__":
    main()
