"""What a node takes that has nothing to do: to get ready, in memory, in CPU time and in fsyncs."""

import re
import shutil
import subprocess
import time
from contextlib import ExitStack

from tests.bench.figure import Budget, Figure
from tests.bench.node import start_mesh
from tests.bench.scope import Scope

_SECONDS_AN_HOUR = 3_600


def node_at_rest(scope: Scope) -> list[Figure]:
    """Two nodes without checks that are connected to each other."""
    return _measure(scope, 1)


def node_with_ten_peers(scope: Scope) -> list[Figure]:
    """The same among eleven nodes, each of which knows all others."""
    return _measure(scope, scope.choose(10, 2))


def _measure(scope: Scope, peers: int) -> list[Figure]:
    with ExitStack() as running:
        nodes = start_mesh(running, scope.place, [""] * (peers + 1))
        first = nodes[0]
        time.sleep(scope.choose(5.0, 0.5))
        seconds = scope.choose(30.0, 2.0)  # three flushes
        before, began = first.cpu_seconds(), time.perf_counter()
        time.sleep(seconds)
        used = (first.cpu_seconds() - before) / (time.perf_counter() - began)
        resident = first.resident_mb()
        syncs = _syncs(first.pid, seconds)
    known = f"{peers} peer{'s' * (peers > 1)}"
    figures = [
        Figure(f"node with {known}, idle: CPU, of a core", 100 * used, "%", budget=Budget(2)),
        Figure(f"node with {known}, idle: resident", resident, "MB", budget=Budget(150)),
    ]
    if syncs is not None:
        figures.append(Figure(f"node with {known}, idle: fsyncs", syncs / seconds * _SECONDS_AN_HOUR, "an hour"))
    if peers == 1:
        figures[:0] = [
            Figure("node: ready after the start", min(node.ready_seconds for node in nodes), "s", budget=Budget(4)),
            Figure("node: CPU time until ready", min(node.ready_cpu_seconds for node in nodes), "s"),
        ]
    return figures


def _syncs(pid: int, seconds: float) -> int | None:
    """How often the process asks the disk to be done within `seconds`, by strace; None where that is not installed."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    command = ["timeout", "-s", "INT", f"{seconds}", strace, "-f", "-e", "trace=fsync,fdatasync", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False).stderr
    if "attached" not in said:
        return None
    return len(re.findall(r"\bf(?:data)?sync\(", said))
