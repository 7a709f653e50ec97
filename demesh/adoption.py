"""The checks that this node takes over from other members (`mesh.adopt_checks`). Pure; times are monotonic milliseconds.

    named members' plans ──offer──> the same for ADOPTED_SETTLED_MS ──> in force

Guarantees: a check of the own files wins over one of the same name, and among members the one that is named first; what a
member took over itself is not taken over from it, so that checks go no round; at most ADOPTED_CHECKS_MAX. What a silent member
last said stays in force, however long it is silent. What cannot be taken over is told once, in a sentence.

A member is named by its peer id or its name. A name that several bear means the one whose checks are in force already, else
nobody.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from demesh import limits
from demesh.checks.check import Check
from demesh.config.adopt import rebuild
from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.plan import PlanRow
from demesh.view.member import Member
from demesh.view.names import name_of

log = logging.getLogger(__name__)


class Adoption:
    """`checks` are those in force. `here` says whether a member belongs to the mesh still."""

    def __init__(self, mesh_id: bytes, own_key: bytes, here: Callable[[Member], bool]) -> None:
        self._mesh_id = mesh_id
        self._own_key = own_key
        self._here = here
        self._built: dict[PlanRow, Check | None] = {}
        self._unbuilt = 0
        """So many of the rows that are offered were not looked at yet."""
        self._offered: tuple[Check, ...] = ()
        self._seen: tuple[object, ...] = ()
        self._offered_since_ms = 0
        self._missing_since_ms: dict[str, int] = {}
        self._told: set[str] = set()
        self.checks: tuple[Check, ...] = ()

    def take(
        self, sources: Sequence[str], members: Sequence[Member], taken: Collection[str], known: Collection[bytes]
    ) -> None:
        """Put in force at once what the members named in `sources` say, but for the names in `taken`.

        `known` are the keys of those from whom checks were taken over before.
        """
        self.checks = self._offered = self._offer(sources, members, taken, known)

    def due(self, sources: Sequence[str], members: Sequence[Member], taken: Collection[str], now_ms: int) -> bool:
        """Whether something else has been offered for long enough; then it is in force from now on."""
        seen = (
            tuple(sources),
            frozenset(taken),
            [(each.public_key, name_of(each), each.current.plan, self._here(each)) for each in members],
        )
        if seen != self._seen or self._unbuilt:  # a plan is the same object until there is another
            most = limits.ADOPTED_BUILT_PER_LOOK_MAX
            self._seen, offered = seen, self._offer(sources, members, taken, self._origins(), most)
        else:
            offered = self._offered
        self._tell_missing(sources, members, now_ms)
        if offered != self._offered or self._unbuilt:
            self._offered, self._offered_since_ms = offered, now_ms
        if offered == self.checks or now_ms - self._offered_since_ms < limits.ADOPTED_SETTLED_MS:
            return False
        self.checks = offered
        return True

    def _tell_missing(self, sources: Sequence[str], members: Sequence[Member], now_ms: int) -> None:
        named = {name for each in members for name in (name_of(each), peer_id(each.public_key))}
        self._missing_since_ms = {
            source: self._missing_since_ms.get(source, now_ms) for source in sources if source not in named
        }
        for source, since_ms in self._missing_since_ms.items():
            if now_ms - since_ms >= limits.ADOPTED_MISSING_TOLD_MS:
                self._tell(
                    f"No member is named {source!r} yet, so no checks are taken over from it (mesh.adopt_checks)."
                )

    def _origins(self) -> set[bytes]:
        return {check.origin for check in self.checks}

    def _offer(
        self,
        sources: Sequence[str],
        members: Sequence[Member],
        taken: Collection[str],
        known: Collection[bytes],
        built_max: int = limits.CHECKS_MAX,
    ) -> tuple[Check, ...]:
        """What the members offer, as far as it is known after making at most `built_max` checks: that takes its time."""
        self._unbuilt = 0
        found: dict[str, Check] = {}
        built: dict[PlanRow, Check | None] = {}
        for source in sources:
            for row, key in self._rows(source, members, known):
                if row.name in taken or row.name in found:
                    continue
                if row not in self._built:
                    if built_max == 0:
                        self._unbuilt += 1
                        continue
                    built_max -= 1
                built[row] = check = self._built[row] if row in self._built else self._rebuilt(row, source)
                if check is None:
                    continue
                if len(found) == limits.ADOPTED_CHECKS_MAX or len(found) + len(taken) >= limits.CHECKS_MAX:
                    most = limits.ADOPTED_CHECKS_MAX
                    self._tell(f"At most {most} checks are taken over from other members; {source!r} has more.")
                    break
                found[row.name] = replace(check, origin=key)
        self._built = built
        return tuple(found.values())

    def _rows(
        self, source: str, members: Sequence[Member], known: Collection[bytes]
    ) -> Iterator[tuple[PlanRow, bytes]]:
        """The checks in the own files of the member that `source` names, by its newest plan, but for who runs them now."""
        meant = [
            member
            for member in members
            if member.public_key != self._own_key and source in (name_of(member), peer_id(member.public_key))
        ]
        if len(meant) > 1:
            here = [member for member in meant if self._here(member)]
            meant = here if len(here) == 1 else [member for member in meant if member.public_key in known]
            if len(meant) != 1:
                self._tell(
                    f"Several members are named {source!r}, so no checks are taken over: name the peer id in adopt_checks."
                )
                return
        for member in meant:
            plan = member.current.plan
            for row in plan.rows if plan else ():
                if not row.origin:
                    yield replace(row, runs=False, takes_part=False, parked=False, answered=False), member.public_key

    def _rebuilt(self, row: PlanRow, source: str) -> Check | None:
        try:
            return rebuild(row, self._mesh_id)
        except UsageError as why:
            self._tell(f"The check {row.name!r} of {source!r} is not taken over: {why}.")
            return None

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < limits.ADOPTIONS_TOLD_MAX:
            self._told.add(sentence)
            log.warning("%s", sentence)
