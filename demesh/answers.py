"""What a node answers of itself and the mesh: the bodies of `demesh status`, `log heads` and `check list`, put together.

Each part is told by whoever knows it; this only asks them all at one moment. Guarantees nothing more than they do.
"""

from typing import Any

from demesh.alerting import Alerting
from demesh.clock import Clock
from demesh.duty import Duty
from demesh.historian import Historian
from demesh.identity import peer_id
from demesh.log.chain import Logs
from demesh.mesh.supervisor import Supervisor
from demesh.mesh.syncer import Syncer
from demesh.view import report
from demesh.view.fold import View
from demesh.view.names import shown_names


class Answers:
    """`mesh` is the mesh's name for people, `key` the node's public key."""

    def __init__(
        self,
        mesh: str,
        key: bytes,
        clock: Clock,
        view: View,
        logs: Logs,
        historian: Historian,
        duty: Duty,
        syncer: Syncer,
        supervisor: Supervisor,
        alerting: Alerting,
    ) -> None:
        self._mesh = mesh
        self._key = key
        self._clock = clock
        self._view = view
        self._logs = logs
        self._historian = historian
        self._duty = duty
        self._syncer = syncer
        self._supervisor = supervisor
        self._alerting = alerting

    def status(self) -> dict[str, Any]:
        """The answer of `demesh status --json`."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        historian = self._historian
        return {
            **report.status(self._view, historian.past, historian.behind, self._mesh, self._key, now_ms, wall_ms),
            "logs": self._held_logs(),
            "network": self._network(wall_ms),
            "clock": self._own_clock(),
            "incidents": self._alerting.incidents(),
            "sinks": self._alerting.sinks(),
        }

    def heads(self) -> list[dict[str, Any]]:
        """The answer of `demesh log heads --json`."""
        return report.heads(self._view, self._logs.states())

    def held_checks(self) -> list[dict[str, Any]]:
        """The checks that this node holds, with the name of the member from whom each was taken over, if it was."""
        names = {peer_id(key): name for key, name in shown_names(self._view.members()).items()}
        return [{**each, "from": names.get(each["from"], each["from"])} for each in self._duty.known()]

    def complete(self) -> bool:
        """Whether this node holds what its peers hold."""
        return self._held_logs()["complete"]

    def _held_logs(self) -> dict[str, Any]:
        missing = self._syncer.missing()
        owners = {state.log: state.public_key for state in filter(None, map(self._logs.get, missing))}
        owners |= {shown.log: shown.public_key for shown in filter(None, map(self._view.log, missing))}
        return report.logs_told(self._view, missing, owners, left_off=self._syncer.left_off)

    def _own_clock(self) -> dict[str, Any] | None:
        found = self._view.own_clock()
        return {"ahead_ms": round(found.ahead_ms, 3), "checks": found.checks} if found else None

    def _network(self, wall_ms: int) -> dict[str, Any]:
        now = self._supervisor.condition
        return report.network(
            now.rebuilds, now.problem, now.died_ago_ms, now.down_ms, wall_ms, cut_off=self._view.cut_off
        )
