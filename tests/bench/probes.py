"""Probes per CPU-second of a whole node (schedule, probe, signed entry, fsync, view), next to a blackbox_exporter."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figure import Budget, Figure
from tests.bench.machine import cpu_seconds
from tests.bench.node import MeasuredNode, checks_config, up_ms
from tests.bench.scope import Scope
from tests.bench.servers import Nginx, blackbox
from tests.certificates import make_authority

_WARM_UP_SECONDS = 2.0


def probes(scope: Scope) -> list[Figure]:
    """Both at the same rate against the same nginx, in turns; the best round of each counts."""
    with Nginx(scope.place, make_authority(scope.place)).running() as nginx:
        return [
            _compare(scope, nginx, "HTTP", nginx.http_url, scope.choose(300, 60), Budget(4, True, of_ratio=True)),
            _compare(scope, nginx, "HTTPS", nginx.https_url, scope.choose(100, 30), Budget(1.8, True, of_ratio=True)),
        ]


def _compare(scope: Scope, nginx: Nginx, scheme: str, url: str, per_second: int, budget: Budget) -> Figure:
    ours: list[float] = []
    theirs: list[float] = []
    seconds = scope.choose(6.0, 1.5)
    peer = shutil.which("prometheus-blackbox-exporter")
    for turn in range(scope.choose(2, 1)):
        home = scope.place / f"{scheme}-{turn}"
        ours.append(_demesh(home, nginx, url, per_second, seconds))
        if peer is not None:
            theirs.append(_blackbox(peer, scope.place, nginx, url, per_second, seconds))
    what = f"{scheme} probes per CPU-second, {per_second} a second"
    return Figure(what, max(ours), "", max(theirs, default=None), "blackbox_exporter", budget)


def _demesh(home: Path, nginx: Nginx, url: str, per_second: int, seconds: float) -> float:
    with MeasuredNode(home, "ann", checks_config(per_second, url, "1s")) as node:
        node.environment["SSL_CERT_FILE"] = str(nginx.bundle)
        node.start_and_wait()
        time.sleep(_WARM_UP_SECONDS)
        first_ms, before = up_ms(), node.cpu_seconds()
        time.sleep(seconds)
        last_ms, after = up_ms(), node.cpu_seconds()
        node.stop()
        return node.passes_between(first_ms, last_ms) / (after - before)


def _blackbox(program: str, place: Path, nginx: Nginx, url: str, per_second: int, seconds: float) -> float:
    with blackbox(program, place, nginx.bundle) as (address, pid):

        def ask(for_seconds: float) -> int:
            arguments = (address, url, str(per_second), str(for_seconds))
            command = [sys.executable, "-m", "tests.bench.ask_blackbox", *arguments]
            said = subprocess.run(command, capture_output=True, text=True, timeout=for_seconds + 60, check=True).stdout
            answered, succeeded = map(int, said.split())
            if answered != succeeded:
                raise AssertionError(f"{answered - succeeded} of {answered} probes of blackbox_exporter failed")
            return succeeded

        ask(_WARM_UP_SECONDS / 2)
        before = cpu_seconds(pid)
        return ask(seconds) / (cpu_seconds(pid) - before)
