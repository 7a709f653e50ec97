"""What a result takes, signed and on the disk: a whole node writes for hours of virtual time, and its log is weighed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import trio
from trio.testing import MockClock

from demesh.checks.check import Check
from demesh.log.entry import SIGNATURE_BYTES, Entry, Kind
from demesh.log.results import read_results
from demesh.mesh.memory import MemorySwarm
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.bench.figure import Budget, Figure
from tests.bench.logs import checks, latency_us
from tests.bench.scope import Scope
from tests.cluster import Member

_BEGUN_SECONDS = 10  # hello, plan and first votes are told


def bytes_per_result(scope: Scope) -> list[Figure]:
    """Full entries first, then a small node at the default flush interval."""
    full = _weigh(scope.place, checks(320, 10_000), scope.choose(400, 60))
    small = _weigh(scope.place, checks(20, 60_000), scope.choose(7_200, 600))
    what_full = f"{full.per_entry:.0f} results an entry"
    what_small = "20 checks at 60 s, default flush"
    return [
        Figure(f"{what_full}: signed", full.signed, "bytes a result", budget=Budget(10)),
        Figure(f"{what_full}: on disk", full.on_disk, "bytes a result", budget=Budget(16)),
        Figure(f"{what_small}: signed", small.signed, "bytes a result"),
        Figure(f"{what_small}: on disk", small.on_disk, "bytes a result", budget=Budget(50)),
    ]


@dataclass(frozen=True, slots=True)
class _Weight:
    """Bytes a result takes: `signed` in the envelopes of all entries, heartbeats included; `on_disk` in the file."""

    per_entry: float
    signed: float
    on_disk: float


class _Target(Member):
    """A node whose targets answer as on the internet."""

    _rng = random.Random(7)

    async def _probe(self, spec: ProbeSpec) -> ProbeResult:
        took_us = latency_us(self._rng)
        await trio.sleep(took_us / 1_000_000)
        return ProbeResult(Outcome.PASS, took_us, address="192.0.2.80", certificate_expires_s=1_790_000_000)


def _weigh(place: Path, watched: Sequence[Check], seconds: int) -> _Weight:
    """What `seconds` of a node that runs the checks `watched` add to its store."""
    member = _Target(MemorySwarm(), place, f"node-{len(watched)}", watched, flush_seconds=10)
    weights: list[tuple[int, list[Entry]]] = []

    async def live() -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(member.run, stop)
            for wait in (_BEGUN_SECONDS, seconds):
                await trio.sleep(wait)
                weights.append((_file_bytes(place / f"node-{len(watched)}.db"), member.own_log()))
            stop.set()

    trio.run(live, clock=MockClock(autojump_threshold=0))
    (bytes_before, before), (bytes_after, after) = weights
    added = after[len(before) :]
    held = [len(read_results(entry.payload, entry.up_ms).results) for entry in added if entry.kind == Kind.RESULTS]
    told = sum(held)
    return _Weight(
        told / sum(map(bool, held)), sum(map(_published_bytes, added)) / told, (bytes_after - bytes_before) / told
    )


def _published_bytes(entry: Entry) -> int:
    """The size of the envelope that the mesh was sent, whether the store has kept its signature or not."""
    return entry.size if entry.signature else entry.size + SIGNATURE_BYTES


def _file_bytes(path: Path) -> int:
    """The size of the store once all is in its main file."""
    with apsw.Connection(str(path)) as connection:
        connection.pragma("wal_checkpoint", "truncate")
    return path.stat().st_size
