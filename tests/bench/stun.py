"""What STUN probes cost when they all run at once in one process, and whether one is taken for silent that answered."""

import statistics
import subprocess
import sys

import trio

from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec, StunOptions
from demesh.probes.resolving import Resolver
from demesh.probes.stun import StunProbe
from demesh.probes.tls import TlsContexts
from tests.bench.figure import Budget, Figure
from tests.bench.machine import Stopwatch
from tests.bench.scope import Scope

_TIMEOUT_MS = 3_000


def stun(scope: Scope) -> list[Figure]:
    count, rounds = scope.choose(600, 60), scope.choose(5, 2)
    command = [sys.executable, "-m", "tests.bench.stun_targets", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as targets:
        try:
            assert targets.stdout is not None
            ports = [int(port) for port in targets.stdout.readline().split()]
            cpu_s, results = trio.run(_all_at_once, ports, rounds)
        finally:
            targets.kill()
    lost = [each for each in results if each.outcome != Outcome.PASS]
    latencies_us = [each.latency_us for each in results if each.latency_us is not None]
    what = f"{count} STUN targets over UDP, all at once"
    return [
        Figure(f"{what}: CPU time of one", min(cpu_s) / count * 1e6, "µs", budget=Budget(1_000)),
        Figure(f"{what}: of {len(results)}, not passed", len(lost), "", budget=Budget(0)),
        Figure(f"{what}: latency that is told, median", statistics.median(latencies_us) / 1_000, "ms"),
    ]


async def _all_at_once(ports: list[int], rounds: int) -> tuple[list[float], list[ProbeResult]]:
    """The CPU seconds of each round, and every result. The first round, which loads and warms up, is in neither."""
    probe = StunProbe(lambda: 0, Resolver(), TlsContexts())
    cpu_s: list[float] = []
    results: list[ProbeResult] = []

    async def ask(port: int) -> None:
        found.append(await probe(ProbeSpec("stun", f"stun://127.0.0.1:{port}", _TIMEOUT_MS, options=StunOptions())))

    for turn in range(1 + rounds):
        found: list[ProbeResult] = []
        watch = Stopwatch()
        async with trio.open_nursery() as nursery:
            for port in ports:
                nursery.start_soon(ask, port)
        if turn:
            cpu_s.append(watch.cpu_seconds())
            results += found
    return cpu_s, results
