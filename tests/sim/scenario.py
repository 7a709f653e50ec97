"""What a seed decides before a run begins: the machines, what they watch, what goes wrong and how often.

Each run switches on a random part of all kinds of faults, so that each kind also meets the others' absence.
"""

import random
from dataclasses import dataclass, field, replace

from demesh.checks.check import Check
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.log.sums import HOUR_MS
from demesh.probes.base import ProbeSpec
from tests.sim.faults import FAULTS
from tests.sim.world import Spell, State, Target

_DAY_MS = 86_400_000
_NOON_MS = 1_700_049_600_000  # of some day
_NODES_WITH_A_LATE_ONE_MIN = 3
SETTLING_SECONDS = 300
"""So long, at most, until everybody agrees once nothing fails any more."""


@dataclass(frozen=True)
class Scenario:
    seed: int
    names: tuple[str, ...]
    minutes: int
    topology: str
    flush_seconds: int
    latency_seconds: float
    wall_ms: int
    """The right time when the run begins."""
    checks: tuple[Check, ...]
    targets: tuple[Target, ...]
    faults: dict[str, float] = field(repr=False)
    """The mean time between two faults of a kind, in seconds; kinds that are not there do not happen."""
    drifting: bool = False
    slow_disk: bool = False
    late: tuple[tuple[str, float], ...] = ()
    """Who joins only after so many seconds."""

    @property
    def faulty_seconds(self) -> float:
        return self.minutes * 60 - min(SETTLING_SECONDS, self.minutes * 30)

    @property
    def promise_seconds(self) -> float:
        return 2 * self.flush_seconds + 5

    def says(self) -> str:
        kinds = ", ".join(f"{kind} every {mean:.0f} s" for kind, mean in self.faults.items()) or "none"
        drift = ", drifting clocks" if self.drifting else ""
        disks = ", slow disks" if self.slow_disk else ""
        late = "".join(f", {name} joins after {seconds:.0f} s" for name, seconds in self.late)
        return (
            f"{len(self.names)} nodes in a {self.topology}, {self.minutes} minutes, {len(self.checks)} checks, an entry every "
            f"{self.flush_seconds} s, {1_000 * self.latency_seconds:.0f} ms apart{drift}{disks}{late}; "
            f"faults: {kinds}"
        )

    def neighbours(self, index: int) -> list[int]:
        """Which machines the configuration of one names as peers."""
        last = len(self.names) - 1
        match self.topology:
            case "ring":
                return sorted({(index + 1) % (last + 1)} - {index})
            case "star":
                return [0] if index else []
            case "bridge":  # two halves that know each other through the first one only
                half = range(1, last // 2 + 1) if index <= last // 2 else range(last // 2 + 1, last + 1)
                return [0, *(each for each in half if each > index)] if index else []
            case _:
                return [each for each in range(last + 1) if each != index]


def scenario(seed: int, nodes: int, minutes: int, only: frozenset[str] | None = None) -> Scenario:
    """`only` names the kinds of faults that may happen at all; None: any."""
    rng = random.Random(seed)
    flush_seconds = rng.choice([5, 10, 20, 30, 30, 60])
    count = rng.choice([1, 2, 2, 4])
    targets = [_target(f"t{index}", rng, minutes * 60.0, f"198.51.{index}.1") for index in range(count)]
    if rng.random() < 0.3:
        targets = _burning(targets, rng, minutes * 60.0)
    anchor = Target("anchor", (), "203.0.113.1") if rng.random() < 0.5 else None
    if anchor is not None:
        targets.append(anchor)
    checks = tuple(
        Check(
            f"check-{target.name}",
            ProbeSpec("http", target.url, rng.choice([1_000, 5_000])),
            interval_ms=1_000 * rng.choice([30, 60, 60]),
            retry_interval_ms=rng.choice([2_000, 10_000]),
            fail_after=rng.choice([1, 2, 2, 3]),
            recover_after=rng.choice([1, 2]),
            anchor=target is anchor,
        )
        for target in targets
    )
    share = rng.choice([0, 0.05, 0.15, 0.3, 0.5])
    pace = rng.choice([0.5, 1, 2])
    faults = {
        kind: fault.mean_seconds * pace * rng.uniform(0.5, 2) for kind, fault in FAULTS.items() if rng.random() < share
    }
    return Scenario(
        seed=seed,
        names=tuple(f"n{index}" for index in range(nodes)),
        minutes=minutes,
        topology=rng.choice(["mesh", "mesh", "ring", "star", "bridge"]) if nodes > 2 else "mesh",
        flush_seconds=flush_seconds,
        latency_seconds=rng.choice([0.002, 0.02, 0.1]),
        wall_ms=_NOON_MS + rng.randrange(-_DAY_MS, _DAY_MS) // HOUR_MS * HOUR_MS - rng.randrange(0, 900_000),
        checks=_as_users_write_them(checks, random.Random(f"{seed} checks")),
        targets=tuple(targets),
        faults={kind: mean for kind, mean in faults.items() if only is None or kind in only},
        drifting=rng.random() < 0.5,
        slow_disk=rng.random() < 0.2,
        late=_late(rng, nodes, minutes) if only is None or "late" in only else (),
    )


def _as_users_write_them(checks: tuple[Check, ...], rng: random.Random) -> tuple[Check, ...]:
    """Half of all meshes have checks with a quorum of their own, with reasons, or that nobody wants to know of."""
    if rng.random() < 0.5:
        return checks
    found: list[Check] = []
    for check in checks:
        before = [each.name for each in found]
        each = replace(
            check,
            quorum=rng.choice([QUORUM_MAJORITY, QUORUM_MAJORITY, 1, 2, QUORUM_ALL]),
            notify=rng.random() > 0.15,
            depends_on=(rng.choice(before),) if before and rng.random() < 0.4 else (),
        )
        found.append(check if check.anchor else each)
    return tuple(found)


def _late(rng: random.Random, nodes: int, minutes: int) -> tuple[tuple[str, float], ...]:
    if nodes <= _NODES_WITH_A_LATE_ONE_MIN or rng.random() < 0.7:
        return ()
    return ((f"n{rng.randrange(1, nodes)}", rng.uniform(0.1, 0.4) * minutes * 60),)


def _burning(targets: list[Target], rng: random.Random, seconds: float) -> list[Target]:
    """The same, all down at once for a while: their data centre burns."""
    until = seconds - min(SETTLING_SECONDS, seconds / 2)
    start = rng.uniform(0, until)
    end = min(until, start + rng.uniform(60, 400))
    spell = Spell(start, end, State.DOWN)
    return [
        Target(
            each.name,
            sorted(
                [*(other for other in each.spells if other.end <= start or other.start >= end), spell],
                key=lambda one: one.start,
            ),
            each.address,
        )
        for each in targets
    ]


def _target(name: str, rng: random.Random, seconds: float, address: str) -> Target:
    """A target that is up most of the time, and at the end."""
    spells: list[Spell] = []
    at = rng.expovariate(1 / 400)
    until = seconds - min(SETTLING_SECONDS, seconds / 2)
    while at < until - 30:
        end = min(until, at + rng.uniform(30, 400))
        spells.append(Spell(at, end, rng.choice([State.DOWN, State.DOWN, State.SLOW, State.FLAPPING])))
        at = end + rng.expovariate(1 / 400)
    return Target(name, spells, address)
