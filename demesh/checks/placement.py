"""Which nodes run a check that has `spread`. Pure; times are monotonic milliseconds.

Eligible are the members whose plan holds the check's definition and takes part in it, as far as they are heard of. Each has a
weight for each check, a hash of the definition and its key (rendezvous hashing); those with the `spread` highest weights are
chosen. So whoever sees the same members chooses the same ones, and who comes or goes moves nothing but its own places.

A node moves towards that choice slowly, and never so that nobody runs the check:

    chosen, does not run it     begins when that was so for SPREAD_TAKE_OVER_MS
    not chosen, runs it         stops when all who are chosen have said in their plans that they run it, and that was so for
                                SPREAD_HAND_BACK_MS

A member that comes and goes therefore leaves the plans alone: who took its place stays until it was back for a minute.

Not guaranteed: that no more than `spread` nodes run a check while the choice moves, or while the mesh is divided.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from demesh import limits
from demesh.log.batch import promise_ms

CheckKey = tuple[str, bytes]
"""A check's name and definition."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that could run a check: how many it thinks should, and whether its plan says that it does."""

    key: bytes
    spread: int
    runs: bool


def chosen(definition: bytes, candidates: Iterable[Candidate]) -> frozenset[bytes]:
    """The keys of those that are to run the check: `spread` of them, or all if they are fewer."""
    order = sorted(candidates, key=lambda each: (_weight(definition, each.key), each.key), reverse=True)
    return frozenset(each.key for place, each in enumerate(order) if place < each.spread)


def wish(definition: bytes, own: Candidate, others: Iterable[Candidate]) -> bool:
    """Whether the node `own` is to run the check, as far as the others let it."""
    candidates = (own, *others)
    keys = chosen(definition, candidates)
    if own.key in keys:
        return True
    return own.runs and not all(each.runs for each in candidates if each.key in keys)


class Damping:
    """Which wishes have stood long enough to be followed."""

    def __init__(self) -> None:
        self._since_ms: dict[CheckKey, int] = {}

    def due(self, wishes: Mapping[CheckKey, bool], runs: Mapping[CheckKey, bool], now_ms: int) -> frozenset[CheckKey]:
        """The checks with which to begin or to stop now. Asked again and again: a wish that lapsed meanwhile stands anew."""
        standing = {key for key, wanted in wishes.items() if wanted != runs[key]}
        self._since_ms = {key: self._since_ms.get(key, now_ms) for key in standing}
        return frozenset(key for key, since in self._since_ms.items() if now_ms - since >= _settled_ms(wishes[key]))


def _settled_ms(wanted: bool) -> int:
    return limits.SPREAD_TAKE_OVER_MS if wanted else limits.SPREAD_HAND_BACK_MS


def takeover_ms(flush_interval_ms: int) -> int:
    """The longest from when a node that runs a check is killed until another begins to; all flush at that interval."""
    silent_ms = promise_ms(flush_interval_ms) + limits.SILENT_AFTER_SUSPECT_MS
    return silent_ms + limits.SPREAD_TAKE_OVER_MS + 2 * 1_000 * limits.DUTY_LOOK_SECONDS


def _weight(definition: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(definition + key, digest_size=16, person=b"demesh/spread/1").digest()
