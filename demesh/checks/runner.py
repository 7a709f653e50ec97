"""Runs the checks of this node: each in a task of its own, at the times of `demesh.checks.schedule`.

Guarantees: every run ends by its deadline, whatever the probe does; a probe that raises gives an `error` result and a line
in the diagnostic log, and its check goes on; at most PROBES_IN_FLIGHT_MAX probes run at once. How late a run began, for
want of a free place or because the process was busy, is kept with its result.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.schedule import first_run_ms, next_run_ms
from demesh.clock import Clock
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Probe

log = logging.getLogger(__name__)
_DEADLINE_GRACE_MS = 500  # a probe that keeps its own timeout knows better what it was waiting for
_LATENESS_NOTED_MS = 100


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run. `check` is the key of the check given to `run_checks`."""

    check: int
    up_ms: int
    result: ProbeResult
    lateness_ms: int


Report = Callable[[Run], bool]
"""Takes a run's result; returns whether the check's vote is turning, so that it is confirmed quickly."""


async def run_checks(checks: Mapping[int, Check], probes: Mapping[str, Probe], clock: Clock, report: Report) -> None:
    """Run `checks`, each by its index in the node's plan, until cancelled. `probes` holds the probe of each type that occurs."""
    slots = trio.CapacityLimiter(limits.PROBES_IN_FLIGHT_MAX)
    started_ms = clock.monotonic_ms()
    async with trio.open_nursery() as nursery:
        for place, (index, check) in enumerate(checks.items()):
            phase_ms = first_run_ms(started_ms, place, len(checks), check.interval_ms)
            nursery.start_soon(_run_check, index, check, probes[check.probe.type], phase_ms, slots, clock, report)


async def _run_check(
    index: int, check: Check, probe: Probe, phase_ms: int, slots: trio.CapacityLimiter, clock: Clock, report: Report
) -> None:
    due_ms = phase_ms
    while True:
        await trio.sleep(max(0, due_ms - clock.monotonic_ms()) / 1_000)
        async with slots:
            lateness_ms = clock.monotonic_ms() - due_ms
            result = await _run_probe(check, probe)
        noted_ms = lateness_ms if lateness_ms >= _LATENESS_NOTED_MS else 0
        turning = report(Run(index, clock.up_ms(), result, noted_ms))
        due_ms = next_run_ms(
            phase_ms, check.interval_ms, check.retry_interval_ms, clock.monotonic_ms(), turning=turning
        )


async def _run_probe(check: Check, probe: Probe) -> ProbeResult:
    with trio.move_on_after((check.probe.timeout_ms + _DEADLINE_GRACE_MS) / 1_000):
        try:
            return await probe(check.probe)
        except Exception as error:  # noqa: BLE001 a plug-in may raise anything, and only its own check shall suffer
            # The message may quote what the target sent; only its type is safe to keep.
            log.warning("The %s probe of check %r failed: %s", check.probe.type, check.name, type(error).__name__)
            return ProbeResult(Outcome.ERROR, detail=f"the probe failed: {type(error).__name__}")
    return ProbeResult(Outcome.TIMEOUT, detail=f"no answer within {check.probe.timeout_ms} ms")
