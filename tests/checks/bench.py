"""A runner on a bench: fake probes in virtual time, and what happened."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from demesh.checks.check import Check
from demesh.checks.runner import Run, Runner
from demesh.checks.schedule import ALONE, place_ms
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Probe, ProbeSpec

PASSED = ProbeResult(Outcome.PASS, latency_us=1_000)
_UP_MS = 5_000_000


class VirtualClock:
    """trio's clock, from the moment it is made. `wall_began_ms` may be changed: the wall clock is set, and jumps."""

    boot8 = b"boot0000"

    def __init__(self, wall_began_ms: int = 0) -> None:
        self._began = trio.current_time()
        self.wall_began_ms = wall_began_ms

    def monotonic_ms(self) -> int:
        return round((trio.current_time() - self._began) * 1_000)

    def up_ms(self) -> int:
        return _UP_MS + self.monotonic_ms()

    def wall_ms(self) -> int:
        return self.wall_began_ms + self.monotonic_ms()


def check_of(name: str = "web", **changed: Any) -> Check:
    timeout_ms, type_ = changed.pop("timeout_ms", 10_000), changed.pop("type", "fake")
    target = changed.pop("target", f"https://{name}.example.net/?token=sesame")
    return Check(name, ProbeSpec(type_, target, timeout_ms), **changed)


@dataclass
class Bench:
    """Runs checks with one probe for all types and keeps what happened; `turning` decides about each run.

    The wall clock is such that the first check's first slot is in its place: it never walks.
    """

    probe: Probe
    turning: Callable[[Run], bool] = lambda _: False
    runs: list[Run] = field(default_factory=list[Run])
    began: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    in_flight_max: int = 0
    runner: Runner = field(init=False)
    clock: VirtualClock = field(init=False)

    @asynccontextmanager
    async def running(self, *checks: Check) -> AsyncGenerator[None]:
        first = checks[0]
        self.clock = VirtualClock(wall_began_ms=place_ms(first.name, ALONE, first.interval_ms))
        in_flight = 0

        async def probe(spec: ProbeSpec) -> ProbeResult:
            nonlocal in_flight
            self.began.append((spec.target, self.clock.monotonic_ms()))
            in_flight += 1
            self.in_flight_max = max(self.in_flight_max, in_flight)
            try:
                return await self.probe(spec)
            finally:
                in_flight -= 1

        def report(run: Run) -> bool:
            self.runs.append(run)
            return self.turning(run)

        self.runner = Runner(dict.fromkeys(("fake", "command", "python"), probe), self.clock, report)
        self.runner.set_checks(dict(enumerate(checks)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.runner.run)
            yield
            nursery.cancel_scope.cancel()

    def began_ms(self, name: str = "") -> list[int]:
        """When the probes of the check of this name began; of all checks without one."""
        return [at_ms for target, at_ms in self.began if f"//{name}" in target]

    def ended_ms(self, check: int = 0) -> list[int]:
        return [run.up_ms - _UP_MS for run in self.runs if run.check == check]

    def outcomes(self, check: int = 0) -> list[str]:
        return [run.result.outcome.name for run in self.runs if run.check == check]


async def at_once(_: ProbeSpec) -> ProbeResult:
    return PASSED


async def hang(_: ProbeSpec) -> ProbeResult:
    await trio.sleep_forever()
    raise AssertionError


def taking(seconds: float) -> Callable[[ProbeSpec], Awaitable[ProbeResult]]:
    async def probe(_: ProbeSpec) -> ProbeResult:
        await trio.sleep(seconds)
        return PASSED

    return probe
