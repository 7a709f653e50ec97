"""A run: disturb the mesh, wait until it is whole, sample the survivors, and again."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.churn.churning import Churn, Size
from tests.churn.growth import Sample, Verdict, worst
from tests.e2e.harness import WebServer

_DISTURBANCES_MAX = 3  # a round


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened, how long it took each time until the mesh was whole (None: too long), and what became of the survivors."""

    happened: Counter[str]
    whole: Sequence[float | None]
    verdicts: Sequence[Verdict]


def churn(place: Path, size: Size, seconds: float, rng: random.Random, say: Callable[[str], None]) -> Seen:
    with ExitStack() as running:
        web = running.enter_context(WebServer())
        mesh = Churn(running, place, size, web.url, rng)
        mesh.wait_whole()
        samples: dict[str, list[Sample]] = {node.name: [] for node in mesh.survivors}
        whole: list[float | None] = []
        while mesh.seconds() < seconds:
            what = [mesh.disturb() for _ in range(rng.randint(1, _DISTURBANCES_MAX))]
            whole.append(mesh.wait_whole())
            if whole[-1] is None:
                say(f"{mesh.seconds():6.0f} s  {mesh.apart() or 'it has just become whole'}")
            for node in mesh.survivors:
                samples[node.name].append(mesh.sample(node))
            soon = "not in time" if whole[-1] is None else f"after {whole[-1]:.1f} s"
            say(
                f"{mesh.seconds():6.0f} s  {', '.join(what)}: whole {soon}; {_line(samples[mesh.survivors[0].name][-1])}"
            )
        return Seen(mesh.happened, whole, worst(samples))


def _line(sample: Sample) -> str:
    return (
        f"{sample.resident_mb:.1f} MB, {sample.descriptors:g} descriptors, {sample.threads:g} threads, {sample.tasks:g} tasks, "
        f"{sample.connections:g} connections, {sample.inbound_slots:g} slots, {sample.streams:g} streams"
    )
