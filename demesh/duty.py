"""What a node is told to do: the settings in force, the plan they make, and which checks it runs when.

Guarantees: the rows of the plan and the checks stand in one order, so an index means the same in both. Not guaranteed: that
the mesh has been told; `demesh.node` sees to that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from demesh import __version__, limits
from demesh.address import multiaddr
from demesh.checks.check import Check, with_actual_key
from demesh.checks.schedule import Turn, turn_of
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.log.head import Head
from demesh.log.hello import Hello
from demesh.log.plan import PlanRow
from demesh.view.fold import View
from demesh.view.vote import VoteState

_VANTAGES_KEPT_MS = 10_000
_LIVE = frozenset(
    {"tags", "advertise", "policy", "alertmanagers", "alert_labels", "alert_token_file", "checks", "not_yet"}
)
"""The settings that change while a node runs; for the others it must be started anew."""


class Duty:
    """`key` is the node's public key."""

    def __init__(self, settings: Settings, mesh_id: bytes, key: bytes, view: View, clock: Clock) -> None:
        self._mesh_id = mesh_id
        self._key = key
        self._view = view
        self._clock = clock
        self._vantages: Mapping[tuple[str, bytes], Sequence[bytes]] = {}
        self._vantages_until_ms = 0
        self.settings = self._keyed(settings)
        self.rows = self.rows_of(self.settings)

    def live(self, settings: Settings) -> tuple[Settings, list[str]]:
        """`settings` as far as a running node can go over to them, and the names of those that need a restart."""
        fixed = {
            each.name: getattr(self.settings, each.name) for each in fields(self.settings) if each.name not in _LIVE
        }
        changed = [name for name, value in fixed.items() if getattr(settings, name) != value]
        return self._keyed(replace(settings, **fixed)), changed

    def take_up(self, settings: Settings, rows: list[PlanRow]) -> None:
        """From now on `settings`, and their `rows`, are in force."""
        self.settings, self.rows = settings, rows
        self._vantages_until_ms = 0

    def rows_of(self, settings: Settings) -> list[PlanRow]:
        return [check.row(self._mesh_id, check.runs_on(settings.name, settings.tags)) for check in settings.checks]

    def running(self) -> dict[int, Check]:
        """The checks that this node runs, by index."""
        return {index: self.settings.checks[index] for index, row in enumerate(self.rows) if row.runs}

    def votes(self, own_log: bytes, rows: Sequence[PlanRow]) -> list[VoteState]:
        """What the own log says so far of the checks in `rows`."""
        own = self._view.log(own_log)
        return [own.votes.get((row.name, row.definition), VoteState()) if own else VoteState() for row in rows]

    def turn(self, check: int) -> Turn:
        """This node's turn among the members that run a check and are not silent."""
        now_ms, row = self._clock.monotonic_ms(), self.rows[check]
        if now_ms >= self._vantages_until_ms:
            self._vantages_until_ms = now_ms + _VANTAGES_KEPT_MS
            self._vantages = self._view.vantages(now_ms)
        return turn_of(self._key, self._vantages.get((row.name, row.definition), ()))

    def hello(self, epoch_nonce: bytes, previous: tuple[bytes, Head] | None, found: Sequence[str]) -> Hello:
        """Who this node is, in the log of that nonce. `found` are the multiaddrs to tell unless the configuration names some."""
        said = [multiaddr(host, port) for host, port in self.settings.advertise]
        return Hello(
            public_key=self._key,
            epoch_nonce=epoch_nonce,
            name=self.settings.name,
            version=__version__,
            tags=self.settings.tags,
            addresses=tuple(said or found)[: limits.ADDRESSES_MAX],
            previous=previous,
        )

    def _keyed(self, settings: Settings) -> Settings:
        return replace(settings, checks=tuple(with_actual_key(check, self._mesh_id) for check in settings.checks))
