"""One run of a probe within its timeout, outside of the schedule."""

import trio

from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Probe, ProbeSpec

_GRACE_SECONDS = 0.5  # for a probe to keep its own timeout, of which it knows what it was waiting for


async def run_once(probe: Probe, spec: ProbeSpec, grace_s: float = _GRACE_SECONDS) -> ProbeResult:
    """The result, whatever the probe does, by `grace_s` behind its timeout."""
    with trio.move_on_at(spec.deadline_s(trio.current_time()) + grace_s):
        try:
            return await probe(spec)
        except Exception as error:  # noqa: BLE001 a plug-in may raise anything; its text may quote what the target sent
            return ProbeResult(Outcome.ERROR, detail=f"the probe failed: {type(error).__name__}")
    return ProbeResult(Outcome.TIMEOUT, detail=f"no answer within {spec.timeout_ms} ms")
