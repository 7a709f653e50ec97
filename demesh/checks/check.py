"""A check: a named definition of what to probe, how often, and when its vote turns."""

import hashlib
from dataclasses import dataclass, field, replace

from demesh import limits
from demesh.log.codec import Value, encode
from demesh.log.plan import QUORUM_MAJORITY, PlanRow
from demesh.probes.base import ProbeSpec
from demesh.target import public_target

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Check:
    """`nodes` selects the vantages: `*`, node names, `tag:NAME`.

    `target` is the probe's as it stands in the configuration, before any `${…}` in it was filled; empty: as the probe has it.
    `expectations` and `definition` are keys and JSON in turn, both as configured and neither with a secret: what others are
    told of a passing answer, and whatever else of the configuration decides a vote.
    """

    name: str
    probe: ProbeSpec
    interval_ms: int = 60_000
    retry_interval_ms: int = 10_000
    fail_after: int = 2
    recover_after: int = 2
    quorum: int = QUORUM_MAJORITY
    severity: str = "critical"
    nodes: tuple[str, ...] = ("*",)
    labels: Pairs = ()
    expectations: Pairs = ()
    definition: Pairs = field(default=(), repr=False)
    target: str = field(default="", repr=False)
    show_query: bool = False
    enabled: bool = True

    @property
    def public_target(self) -> str:
        """The target as others may know it; a `${…}` in it stays unfilled."""
        return public_target(self.target or self.probe.target, show_query=self.show_query)

    @property
    def deadline_ms(self) -> int:
        """The longest that an outage can last before this check's vote says so, on a node that is well."""
        to_the_first_failure_ms = self.interval_ms + self.probe.timeout_ms
        to_the_vote_ms = (self.fail_after - 1) * (self.retry_interval_ms + self.probe.timeout_ms)
        return to_the_first_failure_ms + to_the_vote_ms + limits.RESULT_FRESH_EXTRA_MS

    def runs_on(self, name: str, tags: tuple[str, ...]) -> bool:
        """Whether the node of this name and these tags is a vantage. A paused check has none here."""
        return self.enabled and any(
            each in ("*", name) or (each.startswith("tag:") and each[4:] in tags) for each in self.nodes
        )

    def row(self, mesh_id: bytes, runs: bool) -> PlanRow:
        """The check as the node's log tells of it."""
        return PlanRow(
            name=self.name,
            type=self.probe.type,
            target=self.public_target,
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
        User info is left out: it is a matter of each node how it authenticates. Secrets that others could find by trying are
        left out by `demesh.config.definition`, which fills `definition`.
        """
        keys = sorted(
            (*((f"expect.{key}", value) for key, value in self.expectations), *self.definition),
        )
        defining: list[Value] = [
            self.probe.type,
            public_target(self.target or self.probe.target, show_query=True),
            self.interval_ms,
            self.probe.timeout_ms,
            self.retry_interval_ms,
            self.fail_after,
            self.recover_after,
            [text for pair in keys for text in pair],
        ]
        return hashlib.blake2b(encode(defining), digest_size=16, key=mesh_id, person=b"demesh/check/1").digest()


def with_actual_key(check: Check, mesh_id: bytes) -> Check:
    """`check` with the key for hashes of actual values that is the mesh's: equal on all its nodes, unknown outside."""
    key = hashlib.blake2b(digest_size=16, key=mesh_id, person=b"demesh/actual/1").digest()
    return replace(check, probe=replace(check.probe, actual_key=key))
