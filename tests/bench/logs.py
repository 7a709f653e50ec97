"""Logs as nodes write them, in any length: a hello, a plan, and entries of results like those of real targets."""

import random
from collections.abc import Iterator, Sequence

from demesh import limits
from demesh.checks.check import Check
from demesh.log.codec import encode, values
from demesh.log.entry import Entry, Kind
from demesh.log.plan import split_plan
from demesh.log.results import Result, Results
from demesh.log.store import Store
from demesh.mesh.sync_server import lean
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from tests.log.builders import Pen, public_key_of

RESULTS_PER_ENTRY = 64
_CHECKS = 100
ENTRY_EVERY_MS = 10_000
_PAYLOADS = 50  # different ones; a longer log says the same again at another time
_DETAIL = "no complete answer within 10000 ms (connected after 12 ms)"


def checks(count: int = _CHECKS, interval_ms: int = 60_000) -> list[Check]:
    return [
        Check(f"site-{n:03}", ProbeSpec("http", f"https://site-{n:03}.example.net/health", 10_000), interval_ms)
        for n in range(count)
    ]


def latency_us(rng: random.Random) -> int:
    """Of a target somewhere on the internet: 35 ms in the median, now and then ten times that."""
    return round(1_000 * rng.lognormvariate(3.5, 0.6))


def write_log(owner: str, mesh_id: bytes, entry_count: int) -> list[Entry]:
    """A log of `owner`: a hello, a plan, and `entry_count` entries of 64 results, of which one in a hundred is a timeout."""
    pen, rng = Pen(owner, mesh_id=mesh_id), random.Random(owner)
    pen.hello()
    for part in split_plan([check.row(mesh_id, runs=True) for check in checks()]):
        pen.write(Kind.PLAN, part.payload())
    payloads = [results(rng, number).payload(ENTRY_EVERY_MS) for number in range(min(entry_count, _PAYLOADS))]
    for number in range(entry_count):
        pen.clock.now_ms += ENTRY_EVERY_MS - 1_000  # `write` lets a second pass
        pen.write(Kind.RESULTS, payloads[number % _PAYLOADS])
    return pen.entries


def results(rng: random.Random, number: int) -> Results:
    """What one entry tells if it is made at up time `ENTRY_EVERY_MS`. Its payload fits any time: it has only distances."""
    ended = sorted(rng.randrange(ENTRY_EVERY_MS) for _ in range(RESULTS_PER_ENTRY))
    first = number * RESULTS_PER_ENTRY
    return Results(1, tuple(_result(rng, (first + n) % _CHECKS, ended_ms) for n, ended_ms in enumerate(ended)))


def _result(rng: random.Random, check: int, up_ms: int) -> Result:
    if rng.random() < 0.01:
        return Result(check, up_ms, Outcome.TIMEOUT, None, _DETAIL)
    return Result(check, up_ms, Outcome.PASS, latency_us(rng))


def pages(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """`entries` as sync sends them: as much as fits a page, only the last of each signed where that is enough."""
    page: list[Entry] = []
    size = 0
    for entry in entries:
        if page and (size + entry.size > limits.SYNC_PAGE_BYTES_MAX or len(page) == limits.SYNC_PAGE_ENTRIES_MAX):
            yield lean(page)
            page, size = [], 0
        page.append(entry)
        size += entry.size
    if page:
        yield lean(page)


def envelopes(entries: Sequence[Entry]) -> bytes:
    """The part of a message that carries `entries`."""
    return encode(values([[entry.body, entry.signature] for entry in entries]))


def fill(store: Store, owner: str, entries: Sequence[Entry]) -> None:
    """Store a whole log of another member."""
    keys = {entries[0].log: public_key_of(owner)}
    for page in pages(entries):
        store.commit(page, public_keys=keys, own=False)
