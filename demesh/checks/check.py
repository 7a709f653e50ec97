"""A check: a named definition of what to probe, how often, and when its vote turns."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from demesh.log.codec import Value, encode, values
from demesh.log.plan import QUORUM_MAJORITY, PlanRow
from demesh.probes.base import ProbeSpec
from demesh.target import public_target


@dataclass(frozen=True, slots=True)
class Check:
    """`nodes` selects the vantages: `*`, node names, `tag:NAME`. `expectations` are key and JSON value, as configured."""

    name: str
    probe: ProbeSpec
    interval_ms: int = 60_000
    retry_interval_ms: int = 10_000
    fail_after: int = 2
    recover_after: int = 2
    quorum: int = QUORUM_MAJORITY
    severity: str = "critical"
    nodes: tuple[str, ...] = ("*",)
    labels: tuple[tuple[str, str], ...] = ()
    expectations: tuple[tuple[str, str], ...] = ()

    def runs_on(self, name: str, tags: tuple[str, ...]) -> bool:
        """Whether the node of this name and these tags is a vantage."""
        return any(each in ("*", name) or (each.startswith("tag:") and each[4:] in tags) for each in self.nodes)

    def row(self, mesh_id: bytes, runs: bool) -> PlanRow:
        """The check as the node's log tells of it."""
        return PlanRow(
            name=self.name,
            type=self.probe.type,
            target=public_target(self.probe.target),
            definition=self._definition(mesh_id),
            runs=runs,
            interval_ms=self.interval_ms,
            timeout_ms=self.probe.timeout_ms,
            retry_interval_ms=self.retry_interval_ms,
            fail_after=self.fail_after,
            recover_after=self.recover_after,
            quorum=self.quorum,
            severity=self.severity,
            nodes=self.nodes,
            labels=self.labels,
            options=self.expectations,
        )

    def _definition(self, mesh_id: bytes) -> bytes:
        """Sixteen bytes that are equal on two nodes exactly when they check the same thing in the same way.

        What is made of the votes (quorum, severity, labels, nodes) is left out: a difference there must hide no vote.
        User info is left out: it is a matter of each node how it authenticates.
        """
        parts = urlsplit(self.probe.target)
        target = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        defining: list[Value] = [
            self.probe.type,
            target,
            self.interval_ms,
            self.probe.timeout_ms,
            self.retry_interval_ms,
            self.fail_after,
            self.recover_after,
            int(self.probe.verify_tls),
            values([text for pair in self.expectations for text in pair]),
        ]
        return hashlib.blake2b(encode(defining), digest_size=16, key=mesh_id, person=b"demesh/check/1").digest()
