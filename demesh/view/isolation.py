"""Whether this node is cut off, or the others are gone: who sees half of the members or fewer has to ask itself. Pure.

    sees                    its anchors          its targets                              is
    more than half          any                  any                                      not cut off
    half or fewer           one passes           any                                      not cut off: the others are gone
    half or fewer           all fail             any                                      cut off
    half or fewer           none ran             most fail, in three networks at least    cut off
    half or fewer           none ran             as many pass as fail, or more            not cut off
    half or fewer           none ran             too little to tell                       as before; undecided for a while

Only what ran since the others vanished tells anything, and of that only what lies beyond this machine and, but for anchors,
beyond the local network. A node that is cut off does not vote and accuses nobody; that it is cut off is one incident. With few
targets and no anchor it stays undecided, and then speaks: a false page is better than none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from demesh import limits
from demesh.view.presence import HERE, Presence

CUT_OFF = "this node is cut off: "
"""How the detail of a result begins that would blame a target, if this node were not cut off."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The newest result of one of this node's checks, made since the others vanished; what was an error since this node is cut
    off is none that passed. `near`: in a network that is not routed beyond.
    """

    passed: bool
    network: str
    anchor: bool = False
    near: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One of the others: what its silence means, since when (monotonic), and since when it had been heard before."""

    presence: Presence
    heard_ms: int
    alive_since_ms: int | None


def vanished_ms(others: Iterable[Seen]) -> int | None:
    """Since when half of the members or more are silent, this one among the others; None if they are not.

    Who was silent long before the others, or was there for too short a time, is not counted.
    """
    others = list(others)
    silent = [each for each in others if each.presence == Presence.SILENT and _was_steady(each)]
    newest_ms = max((each.heard_ms for each in silent), default=0)
    lately = [each for each in silent if newest_ms - each.heard_ms < limits.STEADY_MS]
    here = 1 + sum(each.presence in HERE for each in others)
    return min(each.heard_ms for each in lately) if lately and here <= len(lately) else None


def _was_steady(each: Seen) -> bool:
    return each.alive_since_ms is not None and each.heard_ms - each.alive_since_ms >= limits.STEADY_MS


class Isolation:
    """The state of one node. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self.cut_off = False
        self.undecided = False
        """Whether it saw too few to accuse anybody, for a short while."""
        self._since_ms: int | None = None
        self._restored = False

    def restore(self) -> None:
        """It was cut off before a restart, and is until it has heard of most of the members."""
        self.cut_off = self._restored = True

    def look(self, vanished_ms: int | None, ran: Iterable[Ran], now_ms: int, *, sees_most: bool = True) -> None:
        """`vanished_ms` as above; `ran` is what this node's checks found since then. `sees_most`: most of the members have been
        heard since it listens.
        """
        self._restored = self._restored and not sees_most
        if vanished_ms is None and not self._restored:
            self.cut_off = self.undecided = False
            self._since_ms = None
            return
        if self._since_ms is None:
            self._since_ms = now_ms
        found = _judge(list(ran))
        self.cut_off = self.cut_off if found is None else found
        self._restored = self._restored and found is not False
        self.undecided = found is None and not self.cut_off and now_ms - self._since_ms < limits.UNDECIDED_MS_MAX


def _judge(ran: list[Ran]) -> bool | None:
    """Whether what ran says that this node is cut off; None if it says nothing."""
    anchors = [each for each in ran if each.anchor]
    if anchors:
        return not any(each.passed for each in anchors)
    ran = [each for each in ran if not each.near]
    failed = [each for each in ran if not each.passed]
    if ran and 2 * len(failed) <= len(ran):
        return False
    return True if len({each.network for each in failed}) >= limits.INDEPENDENT_NETWORKS_MIN else None
