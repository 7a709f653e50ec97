"""A check: a named definition of what to probe, how often, and when its vote turns."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from demesh import limits
from demesh.log.codec import Value, encode
from demesh.log.plan import QUORUM_MAJORITY, PlanRow
from demesh.probes.base import ProbeSpec
from demesh.target import public_target

Pairs = tuple[tuple[str, str], ...]

TOLD_KEYS = frozenset(
    (
        *("ip", "method", "follow_redirects", "http_version", "verify_tls", "starttls", "server_name", "alpn"),
        *("listed", "addresses"),
        *("record", "transport", "recursion", "packets", "payload_bytes", "nat_behaviour"),
        *("version", "topic"),
    )
)
"""The keys of a check's table, besides expectations, of which others are told the values. None of them can hold a secret."""


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
    notify: bool = True
    anchor: bool = False
    """Whether its target is held to be up always, so that what fails with it is the node's own network."""
    depends_on: tuple[str, ...] = ()
    runbook: str = ""
    spread: int = 0
    """How many of the nodes that could run it do so; 0: all."""
    own_login: bool = False
    """Whether this node shows a user and a password, which are no part of the definition."""
    listed: bool = False
    """Whether its target is a public server out of a list: it is asked at public addresses only."""
    origin: bytes = b""
    """The key of the member from whose plan it was taken over; empty: it stands in this node's own files."""

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
        return self.enabled and selects(self.nodes, name, tags)

    def row(self, mesh_id: bytes, runs: bool, *, takes_part: bool = False) -> PlanRow:
        """The check as the node's log tells of it."""
        told = tuple(
            (key, text) for key, text in self.definition if key in TOLD_KEYS and len(text) <= limits.TEXT_CHARS_MAX
        )
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
            spread=self.spread,
            takes_part=bool(self.spread) and takes_part,
            whole=self._is_whole(told),
            keys=told,
            origin=self.origin,
            notify=self.notify,
            anchor=self.anchor,
            paused=not self.enabled,
            depends_on=self.depends_on,
            runbook=self.runbook,
        )

    def _is_whole(self, told: Pairs) -> bool:
        """Whether who is told the target, the expectations and `told` can run it as this node does."""
        target = self.target or self.probe.target
        parts = urlsplit(target)
        return (
            bool(parts.netloc or parts.scheme == "dns")
            and not self.own_login
            and "@" not in parts.netloc
            and public_target(target, show_query=True) == self.public_target
            and len(told) == len(self.definition)
            # What comes from the environment of one node is not in that of another.
            and not any("${" in text for text in (target, *(text for _, text in (*told, *self.expectations))))
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


def selects(selectors: Iterable[str], name: str, tags: tuple[str, ...]) -> bool:
    """Whether one of `selectors` (`*`, a name, `tag:NAME`) means the node of this name and these tags."""
    return any(each in ("*", name) or (each.startswith("tag:") and each[4:] in tags) for each in selectors)


def with_actual_key(check: Check, mesh_id: bytes) -> Check:
    """`check` with the key for hashes of actual values that is the mesh's: equal on all its nodes, unknown outside."""
    key = hashlib.blake2b(digest_size=16, key=mesh_id, person=b"demesh/actual/1").digest()
    return replace(check, probe=replace(check.probe, actual_key=key))
