"""`python -m tests.sim`: play one run and tell its story, or many and sum them up (docs/architecture.md, "How we know")."""

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import starmap

import click

from tests.sim.simulation import Report, play

_LAST_LINES = 40


@click.command()
@click.option("--seed", type=int, help="Play this run.")
@click.option("--seeds", help="Play these runs, as FIRST-LAST.")
@click.option("--nodes", type=click.IntRange(2, 50), default=5, show_default=True)
@click.option("--minutes", type=click.IntRange(2, 100_000), default=30, show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--only", help="The kinds of faults that may happen at all, separated by commas.")
@click.option("--story", "tell", is_flag=True, help="Tell all that happens, not only the end of a run that fails.")
def main(
    seed: int | None, seeds: str | None, nodes: int, minutes: int, jobs: int, only: str | None, tell: bool
) -> None:
    """Simulate a mesh under faults. Exit code 1 if a promise is broken."""
    kinds = frozenset(only.split(",")) if only is not None else None
    if (seed is None) == (seeds is None):
        raise click.UsageError("Name a run with --seed N, or many with --seeds FIRST-LAST.")
    if seed is not None:
        report = play(seed, nodes, minutes, kinds)
        _tell(report, whole=tell, again=again(seed, nodes, minutes, only))
        sys.exit(report.violation is not None)
    first, _, last = (seeds or "").partition("-")
    if not first.isdecimal() or not last.isdecimal():
        raise click.UsageError("--seeds needs two numbers, FIRST-LAST.")
    jobs_to_do = [(each, nodes, minutes, kinds) for each in range(int(first), int(last) + 1)]
    sys.exit(_play_all(jobs_to_do, jobs, only, tell=tell))


def again(seed: int, nodes: int, minutes: int, only: str | None) -> str:
    """The command that repeats a run."""
    kinds = f" --only {only}" if only is not None else ""
    return f"python -m tests.sim --seed {seed} --nodes {nodes} --minutes {minutes}{kinds} --story"


def _play_all(
    jobs_to_do: list[tuple[int, int, int, frozenset[str] | None]], jobs: int, only: str | None, *, tell: bool
) -> bool:
    began, done, checked, seconds, entries = time.monotonic(), Counter[str](), Counter[str](), 0.0, 0
    broken: list[Report] = []
    for report in _reports(jobs_to_do, jobs):
        done += report.done
        checked += Counter(report.checked)
        seconds += report.seconds
        entries += report.entries
        if report.violation:
            broken.append(report)
            scene = report.scenario
            _tell(report, whole=tell, again=again(scene.seed, len(scene.names), scene.minutes, only))
    took = time.monotonic() - began
    click.echo(
        f"{len(jobs_to_do)} runs, {seconds / 3_600:.1f} virtual hours in {took:.0f} s ({seconds / 60 / took:.1f} minutes a "
        f"second), {entries} entries, {len(broken)} broken promises"
    )
    click.echo("done: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(done.items())))
    click.echo("checked: " + ", ".join(f"{count} × {what}" for what, count in sorted(checked.items())))
    for report in broken:
        click.echo(f"seed {report.scenario.seed}: {report.violation}")
    return bool(broken)


def _reports(jobs_to_do: list[tuple[int, int, int, frozenset[str] | None]], jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from starmap(play, jobs_to_do)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(play, *zip(*jobs_to_do, strict=True))


def _tell(report: Report, *, whole: bool, again: str) -> None:
    lines = report.lines
    for line in lines if whole else (lines[:1] + lines[1:][-_LAST_LINES:] if report.violation else lines[:1]):
        click.echo(str(line))
    kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(report.done.items()))
    click.echo(f"{report.seconds / 60:.1f} virtual minutes, {report.entries} entries, {kinds}; digest {report.digest}")
    if report.violation:
        click.echo(f"BROKEN: {report.violation}\nrepeat it with: {again}")


if __name__ == "__main__":
    main()
