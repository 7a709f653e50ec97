"""Whether what a process holds grows: samples of it, a line through them, and a bound on that line. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

from tests.bench.figure import aligned, number

WARM_UP = 0.25
"""The part of the run that is not judged: caches fill, and allocators take what they will need."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process held at `at_s`, while the mesh was whole."""

    at_s: float
    resident_mb: float
    descriptors: float
    threads: float
    tasks: float
    connections: float
    inbound_slots: float
    streams: float


@dataclass(frozen=True, slots=True)
class Bound:
    """By how much `of` may have grown at the end of the run. `beside_connections`: two nodes that dial each other at once
    have two connections, and each brings some of its own; what is judged is the rest.
    """

    what: str
    of: Callable[[Sample], float]
    growth_max: float
    beside_connections: bool = True


BOUNDS = (
    Bound("resident, MB", lambda sample: sample.resident_mb, 6, beside_connections=False),
    Bound("descriptors", lambda sample: sample.descriptors, 3),
    Bound("threads", lambda sample: sample.threads, 4, beside_connections=False),
    Bound("tasks", lambda sample: sample.tasks, 8),
    Bound("connections", lambda sample: sample.connections, 4, beside_connections=False),
    Bound("inbound slots", lambda sample: sample.inbound_slots, 4, beside_connections=False),
    Bound("streams", lambda sample: sample.streams, 8),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one process and one bound: the first and last sample after the warm-up, the most, and by how much a line through them
    rises.
    """

    node: str
    bound: Bound
    first: float
    last: float
    most: float
    growth: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.bound.growth_max


def judge(node: str, samples: Sequence[Sample], bound: Bound) -> Verdict:
    judged = samples[int(len(samples) * WARM_UP) :]
    held = [bound.of(sample) for sample in judged]
    times = [sample.at_s for sample in judged]
    rise = _rise(times, held, [sample.connections for sample in judged] if bound.beside_connections else [])
    return Verdict(node, bound, held[0], held[-1], max(held), rise * (times[-1] - times[0]))


def worst(samples: Mapping[str, Sequence[Sample]], bounds: Sequence[Bound] = BOUNDS) -> list[Verdict]:
    """For each bound, of the process that grew most."""
    return [
        max((judge(node, held, bound) for node, held in samples.items()), key=lambda verdict: verdict.growth)
        for bound in bounds
    ]


def table(verdicts: Sequence[Verdict]) -> str:
    rows = [("HELD", "WORST", "WARM", "END", "MOST", "GROWTH", "BOUND", "FLAT")]
    for each in verdicts:
        held = (number(each.first), number(each.last), number(each.most))
        grown = (f"{each.growth:+.1f}", f"≤ {number(each.bound.growth_max)}", "yes" if each.flat else "NO")
        rows.append((each.bound.what, each.node, *held, *grown))
    return aligned(rows)


def _rise(times: Sequence[float], held: Sequence[float], beside: Sequence[float]) -> float:
    """The slope of a line through `held`; with `beside`, that part of it which a linear share of `beside` does not explain
    (Frisch and Waugh, Econometrica 1, 1933: take the share out of both, then fit).
    """
    if len(set(beside)) > 1:
        times, held = _rest(times, beside), _rest(held, beside)
    return linear_regression(times, held).slope


def _rest(values: Sequence[float], beside: Sequence[float]) -> list[float]:
    slope, base = linear_regression(beside, values)
    return [value - base - slope * other for value, other in zip(values, beside, strict=True)]
