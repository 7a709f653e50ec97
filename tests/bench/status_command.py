"""What `demesh status` costs the person who asks: time, memory, and what it does not load."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median

from tests.bench.figure import Budget, Figure
from tests.bench.node import MeasuredNode, checks_config
from tests.bench.scope import Scope
from tests.e2e.harness import eventually

_HEAVY = ("libp2p", "trio", "fastapi")
_TARGET = "http://127.0.0.1:9/"  # the discard port: nobody is there, which is as good an answer as another


def status_command(scope: Scope) -> list[Figure]:
    """Asked of a node with twenty checks, next to a Python that does nothing."""
    times = scope.choose(20, 3)
    with MeasuredNode(scope.place / "node", "ann", checks_config(20, _TARGET, "1s")) as node:
        node.start_and_wait()
        eventually(node.status, lambda answer: bool(answer["settled"]), 20, "settled")
        command = [sys.executable, "-m", "demesh", "status"]
        _run(1, command, node.environment)
        runs = _run(times, command, node.environment)
        bare = _run(times, [sys.executable, "-c", "pass"], node.environment)
        loaded = _heavy_modules(node.environment)
    if {run["exit_code"] for run in runs} != {2}:
        raise AssertionError("`demesh status` did not say that the checks are down")
    peer = "bare Python"
    return [
        Figure("demesh status: wall time", _middle(runs, "wall_ms"), "ms", _middle(bare, "wall_ms"), peer, Budget(150)),
        Figure("demesh status: CPU time", _middle(runs, "cpu_ms"), "ms", _middle(bare, "cpu_ms"), peer),
        Figure(
            "demesh status: peak memory", _middle(runs, "peak_mb"), "MB", _middle(bare, "peak_mb"), peer, Budget(40)
        ),
        Figure(f"demesh status: loads of {', '.join(_HEAVY)}", len(loaded), "", budget=Budget(0)),
    ]


def _run(times: int, command: Sequence[str], environment: Mapping[str, str]) -> list[dict[str, float]]:
    spawn = [sys.executable, "-S", "-m", "tests.bench.spawn", str(times), *command]
    return json.loads(subprocess.run(spawn, env=environment, capture_output=True, timeout=60, check=True).stdout)


def _middle(runs: Sequence[Mapping[str, float]], what: str) -> float:
    return median(run[what] for run in runs)


def _heavy_modules(environment: Mapping[str, str]) -> set[str]:
    """Which of `_HEAVY` the command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "demesh", "status"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.splitlines()}
    if "demesh" not in imported:
        raise AssertionError("Python did not say what it imports")
    return imported & set(_HEAVY)
