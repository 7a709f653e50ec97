"""A real node whose process is measured from outside."""

import time
from pathlib import Path

from demesh.clock import SystemClock
from demesh.log.entry import Entry, Kind
from demesh.log.results import read_results
from demesh.log.store import Store
from demesh.outcome import Outcome
from tests.bench.machine import cpu_seconds, resident_mb
from tests.e2e.harness import NodeProcess

_READY_SECONDS_MAX = 30
_POLL_SECONDS = 0.01


class MeasuredNode(NodeProcess):
    def __init__(self, home: Path, name: str, config: str = "", swarm_key: Path | None = None) -> None:
        super().__init__(home, name, config, swarm_key)
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody runs a node so

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def resident_mb(self) -> float:
        return resident_mb(self.pid)

    def start_and_wait(self, *arguments: str) -> float:
        """Start; returns the seconds until it said that it is ready."""
        began = time.perf_counter()
        said = (self.home / "output").stat().st_size if (self.home / "output").exists() else 0
        self.start(*arguments)
        while ": node " not in self.output()[said:]:
            assert self._process is not None
            if self._process.poll() is not None or time.perf_counter() - began > _READY_SECONDS_MAX:
                raise AssertionError(f"the node did not get ready: {self.output()[said:]}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - began

    def own_entries(self) -> list[Entry]:
        """Its own log, as stored. Ask when it has stopped."""
        with Store(self.home / "log.db", readonly=True) as store:
            own = store.own_log()
            assert own is not None
            return store.read(own[0], 0, own[1].seq)[0]

    def passes_between(self, first_up_ms: int, last_up_ms: int) -> int:
        """How many runs of that time stand in its log, all of which passed. Ask when it has stopped."""
        outcomes = [
            result.outcome
            for entry in self.own_entries()
            if entry.kind == Kind.RESULTS
            for result in read_results(entry.payload, entry.up_ms).results
            if first_up_ms < result.up_ms <= last_up_ms
        ]
        if any(outcome != Outcome.PASS for outcome in outcomes):
            raise AssertionError("not all probes passed: the figure would be of something else")
        return len(outcomes)


def checks_config(count: int, target: str, interval: str) -> str:
    """A configuration with `count` checks of one target."""
    defaults = f'[defaults]\ninterval = "{interval}"\n'
    return defaults + "".join(f'[[check]]\nname = "c{n:04}"\ntarget = "{target}"\n' for n in range(count))


def up_ms() -> int:
    """Now, on the clock of results."""
    return SystemClock().up_ms()
