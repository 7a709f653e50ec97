"""Which servers of a list this node lets rest, since they never answered. Pure.

    candidate   has not passed with anybody yet; it is tried like any other check
    parked      a candidate that was tried here in vain CANDIDATE_TRIES_MAX times: its plan says so and does not run it
    tried anew  a parked one, once a day at a time of its own, and whenever somebody asks for it
    released    as soon as it has passed, here or with any other member: then it is run like any other check, for good

Guarantees: what has passed once with a member that is known is not parked, however long it has failed since: plans say so
(`answered`), so neither a lost view, nor a member that joins, nor another interval or timeout of the check forgets it. A list of
dead hosts costs one try of each a day. What could not be run here (an error) is no try. What is newly parked, or has answered,
waits for more of its kind, since a plan is told as a whole; what is released does not.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from demesh import limits
from demesh.checks.placement import CheckKey
from demesh.log.plan import PlanRow
from demesh.log.sums import DAY_MS
from demesh.view.vote import VoteState

Place = tuple[str, str]
"""A check's name and target: what stays the same when its definition changes."""


class Parking:
    """`key` is the node's public key. Times of tries are Unix milliseconds, `now_ms` is monotonic."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.parked: frozenset[CheckKey] = frozenset()
        self._answered: frozenset[Place] = frozenset()
        self._time_of_day_ms: dict[CheckKey, int] = {}
        """When each of `parked` is tried anew."""
        self._asked_ms: dict[CheckKey, int] = {}
        self._tried_ms: dict[CheckKey, int] = {}
        self._looked_ms: int | None = None
        self._parked_ms: int | None = None
        self._answered_ms: int | None = None

    def look(
        self,
        rows: Iterable[PlanRow],
        votes: Mapping[CheckKey, VoteState],
        answered: Callable[[PlanRow], bool],
        now_ms: int,
        *,
        at_once: bool = False,
    ) -> bool:
        """Whether the plan has to say something else (`settled`). `rows` are of the own plan, `votes` of the own log; `answered`
        says what has passed with another member, or with one whom that knew.
        """
        if not at_once and self._looked_ms is not None and now_ms - self._looked_ms < limits.PARKING_LOOK_MS:
            return False
        self._looked_ms = now_ms
        listed = [row for row in rows if row.listed]
        passed = [row for row in listed if row.answered or _has_passed(votes.get(_key(row))) or answered(row)]
        known = frozenset(map(_place, passed))
        resting = frozenset(
            _key(row) for row in listed if _place(row) not in known and _is_in_vain(votes.get(_key(row)))
        )
        parks, answers = bool(resting - self.parked), known != self._answered
        if not (
            (at_once and (parks or answers))
            or self.parked - resting
            or (parks and _is_long_ago(self._parked_ms, now_ms))
            or (answers and _is_long_ago(self._answered_ms, now_ms))
        ):
            return False
        if not at_once:
            self._parked_ms = now_ms if parks else self._parked_ms
            self._answered_ms = now_ms if answers else self._answered_ms
        self.parked, self._answered = resting, known
        self._time_of_day_ms = {key: _time_of_day_ms(key, self._key) for key in resting}
        for noted in (self._asked_ms, self._tried_ms):
            for key in noted.keys() - resting:
                del noted[key]
        return True

    def settled(self, row: PlanRow) -> PlanRow:
        """A row of the own plan, with what it has to say of this."""
        if not row.listed:
            return row
        if _place(row) in self._answered:
            return replace(row, answered=True)
        if row.runs and _key(row) in self.parked:
            return replace(row, runs=False, takes_part=False, parked=True)
        return row

    def ask(self, keys: Collection[CheckKey], wall_ms: int) -> None:
        """Try these, which are parked, once more."""
        self._asked_ms.update(dict.fromkeys(self.parked.intersection(keys), wall_ms))

    def tried(self, key: CheckKey, wall_ms: int) -> None:
        """A parked check was tried; its result need not be in the log yet."""
        if key in self.parked:
            self._tried_ms[key] = wall_ms

    def due(self, votes: Mapping[CheckKey, VoteState], wall_ms: int) -> frozenset[CheckKey]:
        """The parked checks that are to be tried now."""
        return frozenset(key for key in self.parked if self._is_due(key, votes.get(key), wall_ms))

    def _is_due(self, key: CheckKey, state: VoteState | None, wall_ms: int) -> bool:
        last_ms = self._tried_ms.get(key)
        if last_ms is None and state is not None and state.last is not None:
            last_ms = state.last.wall_ms
        if last_ms is None or last_ms > wall_ms:  # nobody tries tomorrow: a clock was set back
            return True
        newest_ms = wall_ms - (wall_ms - self._time_of_day_ms[key]) % DAY_MS
        return last_ms < max(newest_ms, self._asked_ms.get(key, 0))


def _time_of_day_ms(key: CheckKey, node: bytes) -> int:
    """When in a day a node tries a check anew, as a time since its beginning: all at different times."""
    digest = hashlib.blake2b(key[1] + node, digest_size=8, person=b"demesh/retry/1").digest()
    return int.from_bytes(digest) % DAY_MS


def _is_long_ago(ms: int | None, now_ms: int) -> bool:
    return ms is None or now_ms - ms >= limits.PARKED_APART_MS


def _place(row: PlanRow) -> Place:
    return row.name, row.target


def _key(row: PlanRow) -> CheckKey:
    return row.name, row.definition


def _has_passed(state: VoteState | None) -> bool:
    return state is not None and state.tries is None


def _is_in_vain(state: VoteState | None) -> bool:
    return state is not None and state.tries is not None and state.tries >= limits.CANDIDATE_TRIES_MAX
