"""Finding where two nodes' histories of one log part. Sans-IO: it says which entries to ask the peer for, and takes the answers.

A peer that holds another entry than ours in some place holds another one in every later place, as each entry names the hash of
the one before it. So the first place where they part is found by halving; some twenty questions do for a million entries.

    ours    ■ ─ ■ ─ ■ ─ ■ ─ a ─ b ─ c
    theirs  ■ ─ ■ ─ ■ ─ ■ ─ x ─ y ─ z
            ↑ both hold it  ↑       ↑ known to differ
            low             found   high

Guarantees: it ends, after at most FORK_QUESTIONS_MAX questions, with the lowest place at which both can still show an entry, or
with nothing if the peer contradicts itself. Whether what was found is a proof is for `demesh.log.evidence` to say.
"""

from collections.abc import Sequence

from demesh import limits
from demesh.log.entry import Entry
from demesh.log.evidence import segment_of
from demesh.mesh.sync import Want


class ForkSearch:
    """The search in one log. Both nodes still hold it from `low` on; their entries at `high` are known to differ."""

    def __init__(self, log: bytes, low: int, high: int, their_head: int) -> None:
        self._log = log
        self._low = low
        self._high = high
        self._their_head = their_head
        self._found: Sequence[Entry] = ()
        self._questions = 0
        self._reach = limits.FORK_REACH_ENTRIES

    @property
    def want(self) -> Want | None:
        """What to ask for next; None once the search is over."""
        is_over = self._low >= self._high and self._found
        if is_over or self._low > self._high or self._questions >= limits.FORK_QUESTIONS_MAX:
            return None
        return Want(self._log, self._place, self._last)

    @property
    def _last(self) -> int:
        """So far a page shall reach: as a rule there is a signed entry, at which it can end."""
        return min(self._place + self._reach - 1, self._their_head)

    @property
    def _place(self) -> int:
        return (self._low + self._high) // 2

    def answer(self, theirs: Sequence[Entry], our_hash: bytes | None) -> None:
        """Take what the peer holds from the place that was asked for on, and the hash of our entry there, None if it is gone."""
        self._questions += 1
        place = self._place
        if not theirs and self._last < self._their_head:
            self._reach *= 8  # perhaps the next signed entry is further away
            return
        if not theirs or theirs[0].seq != place or theirs[0].log != self._log or our_hash is None:
            self._low = place + 1  # one of both cannot show it (any more): what is provable lies above
        elif theirs[0].hash == our_hash:
            self._low = place + 1
        else:
            self._high, self._found = place, theirs

    def their_segment(self) -> list[Entry]:
        """The peer's history from where they part on; empty if the search found nothing."""
        return segment_of(self._found) if self._found and self._found[0].seq == self._high else []
