"""The newest run of each of this node's checks, whole: the log keeps less of it (no phases, no status).

For `/metrics`, and for what this node's NTP checks say of its own clock; it is gone with the process.
"""

from collections.abc import Iterable, Iterator

from demesh.checks.check import Check
from demesh.checks.runner import Run
from demesh.view.vote import fresh_ms


class LatestRuns:
    def __init__(self) -> None:
        self._runs: dict[str, tuple[Check, Run]] = {}

    def note(self, check: Check, run: Run) -> None:
        self._runs[check.name] = check, run

    def of(self, check: Check) -> Run | None:
        """None if the check has not run yet, or not since its definition changed."""
        known, run = self._runs.get(check.name, (None, None))
        return run if known == check else None

    def clock_offsets_us(self, checks: Iterable[Check], up_ms: int) -> Iterator[int]:
        """By how much each time server of `checks` was ahead of this node in a run that is still fresh; `up_ms` is now."""
        for check in checks:
            run = self.of(check) if check.probe.type == "ntp" else None
            if run and run.result.clock_offset_us is not None and up_ms - run.up_ms <= fresh_ms(check.interval_ms):
                yield run.result.clock_offset_us
