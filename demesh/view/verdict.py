"""What the mesh says of a check, from the votes of its vantages.

    down      fails >= quorum
    partial   any fail
    up        unseen < quorum
    unknown   otherwise, also when nobody is assigned

Assigned are the vantages of the definition whose votes count (`demesh.view.checks`); the quorum is counted over them, unseen
ones included. So a minority's failure is always visible, and what nobody has seen is never called up. Two more are said without
counting:

    paused    whoever holds the check has paused it, and nobody runs it
    flapping  a quorum sees it go back and forth, and it is not down now
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.view.vote import Vote


class Verdict(StrEnum):
    UP = "up"
    DOWN = "down"
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    PAUSED = "paused"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes of the assigned vantages and the number of fails that make the check down."""

    passes: int
    fails: int
    unseen: int
    quorum: int

    @property
    def verdict(self) -> Verdict:
        if self.passes + self.fails + self.unseen == 0:
            return Verdict.UNKNOWN
        if self.fails >= self.quorum:
            return Verdict.DOWN
        if self.fails:
            return Verdict.PARTIAL
        return Verdict.UP if self.unseen < self.quorum else Verdict.UNKNOWN

    @property
    def proves_not_down(self) -> bool:
        """Whether the check could not be down even if every unseen vantage failed: evidence of recovery."""
        return self.passes > 0 and self.fails + self.unseen < self.quorum


def tally(votes: Sequence[Vote], quorum: int) -> Tally:
    """Count `votes` of all assigned vantages; `quorum` as in a plan (docs/protocol.md)."""
    assigned = len(votes)
    if quorum == QUORUM_MAJORITY:
        needed = assigned // 2 + 1
    elif quorum == QUORUM_ALL:
        needed = assigned
    else:
        needed = min(quorum, assigned)
    return Tally(
        passes=sum(vote == Vote.PASS for vote in votes),
        fails=sum(vote == Vote.FAIL for vote in votes),
        unseen=sum(vote == Vote.UNSEEN for vote in votes),
        quorum=max(1, needed),
    )
