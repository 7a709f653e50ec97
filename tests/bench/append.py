"""Entries that a node writes itself: signed, and on the disk before anybody hears of them."""

import random

from demesh.log.entry import Kind
from demesh.log.store import Store
from tests.bench.figure import Figure
from tests.bench.logs import ENTRY_EVERY_MS, RESULTS_PER_ENTRY, results
from tests.bench.machine import Stopwatch
from tests.bench.scope import Scope
from tests.log.builders import MESH, Pen

_OWNER = "ann"


def append(scope: Scope) -> list[Figure]:
    """One commit an entry, each with its fsync, as the author does it."""
    count = scope.choose(1_000, 50)
    contents = [results(random.Random(number), number) for number in range(count)]
    pen = Pen(_OWNER)
    keys = {pen.log: pen.public_key}
    with Store(scope.place / "log.db", mesh_id=MESH) as store:
        store.commit([pen.hello()], public_keys=keys, own=True)
        watch = Stopwatch()
        for content in contents:
            entry = pen.write(Kind.RESULTS, content.payload(ENTRY_EVERY_MS))
            store.commit([entry], public_keys=keys, own=True)
        cpu, wall = watch.cpu_seconds(), watch.wall_seconds()
    what = f"own entries of {RESULTS_PER_ENTRY} results, signed and on the disk"
    return [
        Figure(f"{what}: a second", count / wall, ""),
        Figure(f"{what}: per CPU-second", count / cpu, ""),
    ]
