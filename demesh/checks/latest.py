"""The newest run of each of this node's checks, whole: the log keeps less of it (no phases, no status).

For `/metrics` alone; nothing is decided from it, and it is gone with the process.
"""

from demesh.checks.check import Check
from demesh.checks.runner import Run


class LatestRuns:
    def __init__(self) -> None:
        self._runs: dict[str, tuple[Check, Run]] = {}

    def note(self, check: Check, run: Run) -> None:
        self._runs[check.name] = check, run

    def of(self, check: Check) -> Run | None:
        """None if the check has not run yet, or not since its definition changed."""
        known, run = self._runs.get(check.name, (None, None))
        return run if known == check else None
