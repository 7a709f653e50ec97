"""What a node is told to do: the settings in force, the plan they make, and which checks it runs when.

Guarantees: the rows of the plan and the checks stand in one order, so an index means the same in both: first those of the own
files, then those taken over from other members (`demesh.adoption`). Which checks with `spread` this node runs follows from what
it sees of the others (`demesh.checks.placement`); a start goes on with those it ran before. Servers of lists that never
answered are parked (`demesh.checks.parking`). Not guaranteed: that the mesh has been told; `demesh.changeover` sees to that.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from demesh import __version__, limits
from demesh.address import multiaddr
from demesh.adoption import Adoption
from demesh.checks.check import Check, with_actual_key
from demesh.checks.parking import Parking
from demesh.checks.placement import Candidate, CheckKey, Damping, wish
from demesh.checks.schedule import Turn, turn_of
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.evidence import Fork
from demesh.log.head import Head
from demesh.log.hello import Hello, PresenceProfile
from demesh.log.plan import Plan, PlanRow
from demesh.mesh.network import ASK, RELAY, SYNC
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.presence import Presence
from demesh.view.vote import VoteState

_VANTAGES_KEPT_MS = 10_000
_LIVE = frozenset(
    (
        *("tags", "advertise", "policy", "alertmanagers", "alert_labels", "alert_token_file", "checks"),
        *("adopt_checks", "allow_requests", "roaming", "back_within_ms", "operators", "maintenance", "watchdog"),
        *("sinks", "heartbeat_url", "warnings", "public_checks"),
    )
)
"""The settings that change while a node runs; for the others it must be started anew."""

_HEARD = (Presence.ALIVE, Presence.SUSPECT)
_HERE = frozenset((*_HEARD, Presence.SILENT, Presence.AWAY))


class Duty:
    """`key` is the node's public key."""

    def __init__(self, settings: Settings, mesh_id: bytes, key: bytes, view: View, clock: Clock) -> None:
        self._mesh_id = mesh_id
        self._key = key
        self._view = view
        self._clock = clock
        self._vantages: Mapping[tuple[str, bytes], Sequence[bytes]] = {}
        self._vantages_until_ms = 0
        self._damping = Damping()
        self._seen: tuple[object, ...] = ()
        self._wishes: dict[CheckKey, bool] = {}
        self._parking = Parking(key)
        self._retrying: frozenset[CheckKey] = frozenset()
        self._adoption = Adoption(mesh_id, key, lambda member: view.presence(member, clock.monotonic_ms()) in _HERE)
        own = view.member(key)
        before = own.current.plan if own else None
        self.rows: list[PlanRow] = list(before.rows) if before else []
        self._files = self._keyed(settings)
        names = {check.name for check in settings.checks}
        origins = {row.origin for row in self.rows if row.origin}
        self._adoption.take(settings.adopt_checks, view.members(), names, origins)
        self.settings = self._with_adopted(self._files)
        self._park(at_once=True)
        self.rows = self.rows_of(self.settings)

    def live(self, settings: Settings) -> tuple[Settings, list[str]]:
        """`settings` as far as a running node can go over to them, and the names of those that need a restart."""
        fixed = {
            each.name: getattr(self.settings, each.name) for each in fields(self.settings) if each.name not in _LIVE
        }
        changed = [name for name, value in fixed.items() if getattr(settings, name) != value]
        files = self._keyed(replace(settings, **fixed))
        names = {check.name for check in files.checks}
        if files.adopt_checks != self._files.adopt_checks:
            origins = {row.origin for row in self.rows if row.origin}
            self._adoption.take(files.adopt_checks, self._view.members(), names, origins)
        self._files = files
        return self._with_adopted(files), changed

    @property
    def sinks(self) -> tuple[bytes, ...]:
        """The digests of the sinks to which this node can deliver, as its plan tells them."""
        return self.sinks_of(self.settings)

    def sinks_of(self, settings: Settings) -> tuple[bytes, ...]:
        return tuple(sorted({sink.digest(self._mesh_id) for sink in settings.sinks}))

    def take_up(self, settings: Settings, rows: list[PlanRow]) -> None:
        """From now on `settings`, and their `rows`, are in force."""
        self.settings, self.rows = settings, rows
        self._vantages_until_ms = 0

    def due(self) -> tuple[Settings, list[PlanRow]] | None:
        """What `take_up` shall be told, if the mesh asks something else of this node than what is in force. Ask now and then."""
        now_ms = self._clock.monotonic_ms()
        files = self._files
        settings = self.settings
        members = self._view.members()
        if files.adopt_checks and self._adoption.due(
            files.adopt_checks, members, {check.name for check in files.checks}, now_ms
        ):
            settings = self._with_adopted(files)
        moving = self._moving(members, now_ms)
        parking = self._park()
        due = moving or parking or settings is not self.settings
        return (settings, self.rows_of(settings, moving)) if due else None

    def rows_of(self, settings: Settings, moving: Collection[CheckKey] = ()) -> list[PlanRow]:
        """The plan of `settings`. With the checks named in `moving`, all of which have spread, this node begins or stops."""
        ran = {row.name: row.runs for row in self.rows}
        rows: list[PlanRow] = []
        for check in settings.checks:
            takes_part = check.runs_on(settings.name, settings.tags)
            row = self._parking.settled(check.row(self._mesh_id, takes_part, takes_part=takes_part))
            if row.takes_part:
                row = replace(row, runs=ran.get(row.name, False) != ((row.name, row.definition) in moving))
            rows.append(row)
        return rows

    def known(self) -> list[dict[str, Any]]:
        """The checks that this node holds, and where each comes from: None for its own files, else a peer id."""
        return [
            {
                "name": row.name,
                "type": row.type,
                "target": row.target,
                "interval_ms": row.interval_ms,
                "deadline_ms": check.deadline_ms,
                "nodes": list(row.nodes),
                "spread": row.spread or None,
                "runs_here": row.runs,
                "parked": row.parked,
                "from": peer_id(row.origin) if row.origin else None,
            }
            for check, row in zip(self.settings.checks, self.rows, strict=True)
        ]

    def running(self) -> dict[int, Check]:
        """The checks that this node runs, by index: those among them that are parked, and are tried anew now."""
        self._retrying = self._parking.due(self._own_votes(), self._clock.wall_ms())
        return {
            index: self.settings.checks[index]
            for index, row in enumerate(self.rows)
            if row.runs or (row.parked and (row.name, row.definition) in self._retrying)
        }

    def turned(self) -> bool:
        """Whether another parked check is to be tried anew than `running` said last. Ask now and then."""
        return self._parking.due(self._own_votes(), self._clock.wall_ms()) != self._retrying

    def tried(self, check: int) -> None:
        """A check has been run."""
        row = self.rows[check]
        if row.parked:
            self._parking.tried((row.name, row.definition), self._clock.wall_ms())

    def retry(self, names: Collection[str] = ()) -> list[str]:
        """Try the parked checks of these names or targets anew soon; without any, all that are parked. Returns their names.
        Raises UsageError.
        """
        parked = [row for row in self.rows if row.parked]
        if unknown := sorted(set(names) - {said for row in parked for said in (row.name, row.target)}):
            raise UsageError(
                f"No check that is parked here has the name {unknown[0]!r}. `demesh servers parked` lists them."
            )
        chosen = [row for row in parked if not names or row.name in names or row.target in names]
        self._parking.ask([(row.name, row.definition) for row in chosen], self._clock.wall_ms())
        return sorted(row.name for row in chosen)

    def votes(self, own_log: bytes, rows: Sequence[PlanRow]) -> list[VoteState]:
        """What the own log says so far of the checks in `rows`."""
        own = self._view.log(own_log)
        return [
            own.votes.get((row.name, row.definition), VoteState()) if own and (row.runs or row.parked) else VoteState()
            for row in rows
        ]

    def turn(self, check: int) -> Turn:
        """This node's turn among the members that run a check and are not silent."""
        now_ms, row = self._clock.monotonic_ms(), self.rows[check]
        if now_ms >= self._vantages_until_ms:
            self._vantages_until_ms = now_ms + _VANTAGES_KEPT_MS
            self._vantages = self._view.vantages(now_ms)
        return turn_of(self._key, self._vantages.get((row.name, row.definition), ()))

    def hello(
        self,
        epoch_nonce: bytes,
        previous: tuple[bytes, Head] | None,
        found: Sequence[str],
        forks: Sequence[Fork],
    ) -> Hello:
        """Who this node is, in the log of that nonce. `found` are the multiaddrs to tell unless the configuration names some,
        `forks` what is proven of earlier logs, the newest last.
        """
        said = [multiaddr(host, port) for host, port in self.settings.advertise]
        return Hello(
            public_key=self._key,
            epoch_nonce=epoch_nonce,
            name=self.settings.name,
            version=__version__,
            tags=self.settings.tags,
            presence=PresenceProfile.ROAMING if self.settings.roaming else PresenceProfile.STEADY,
            addresses=tuple(said or found)[: limits.ADDRESSES_MAX],
            previous=previous,
            fork_proofs=tuple(fork.id for fork in forks[-limits.FORK_PROOFS_CITED_MAX :]),
            protocols=(SYNC,) if self.settings.allow_requests == "none" else (SYNC, ASK, RELAY),
        )

    def _moving(self, members: Sequence[Member], now_ms: int) -> frozenset[CheckKey]:
        """The checks with spread with which this node is to begin or to stop now."""
        own = {(row.name, row.definition): row for row in self.rows if row.takes_part}
        if not own:
            return frozenset()
        heard: list[tuple[bytes, Plan | None]] = [
            (member.public_key, member.current.plan)
            for member in members
            if member.public_key != self._key and self._view.presence(member, now_ms) in _HEARD
        ]
        if self._seen != (heard, self.rows):  # a plan is the same object until there is another
            self._seen = heard, self.rows
            self._wishes = _wishes(self._key, own, heard)
        return self._damping.due(self._wishes, {key: row.runs for key, row in own.items()}, now_ms)

    def _park(self, *, at_once: bool = False) -> bool:
        """Whether the plan has to say something else of what is parked, or has answered."""
        others = [each.current for each in self._view.members() if each.public_key != self._key]
        told: set[tuple[str, str]] | None = None

        def answered(row: PlanRow) -> bool:
            nonlocal told
            if told is None:  # it is not asked every time
                told = {
                    (row.name, row.target) for each in others if each.plan for row in each.plan.rows if row.answered
                }
            key = row.name, row.definition
            passed = any(key in each.votes and each.votes[key].tries is None for each in others)
            return passed or (row.name, row.target) in told

        now_ms = self._clock.monotonic_ms()
        return self._parking.look(self.rows, self._own_votes(), answered, now_ms, at_once=at_once)

    def _own_votes(self) -> Mapping[CheckKey, VoteState]:
        own = self._view.member(self._key)
        return own.current.votes if own else {}

    def _with_adopted(self, files: Settings) -> Settings:
        names = {check.name for check in files.checks}
        adopted = [check for check in self._adoption.checks if check.name not in names]
        room = max(0, limits.CHECKS_MAX - len(files.checks))
        return self._keyed(replace(files, checks=(*files.checks, *adopted[:room])))

    def _keyed(self, settings: Settings) -> Settings:
        return replace(settings, checks=tuple(with_actual_key(check, self._mesh_id) for check in settings.checks))


def _wishes(
    own_key: bytes, own: Mapping[CheckKey, PlanRow], heard: Sequence[tuple[bytes, Plan | None]]
) -> dict[CheckKey, bool]:
    """Of each check with spread in `own`, whether this node is to run it."""
    others: dict[CheckKey, list[Candidate]] = {key: [] for key in own}
    for public_key, plan in heard:
        for row in plan.rows if plan else ():
            if row.takes_part and (key := (row.name, row.definition)) in others:
                others[key].append(Candidate(public_key, row.spread, row.runs))
    return {key: wish(key[1], Candidate(own_key, row.spread, row.runs), others[key]) for key, row in own.items()}
