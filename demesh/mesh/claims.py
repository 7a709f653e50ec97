"""Which of several pulls at once takes which log, so that a node that lacks much does not fetch all of it from each peer. Pure.

Guarantees: a log is taken by one pull at a time; whoever has had one for CLAIM_MS_MAX may lose it to the next, so a peer that
trickles keeps nobody waiting for long. Not guaranteed: that what one pull left off is taken by another that is under way; the
next one finds it.
"""

from demesh import limits


class Claims:
    def __init__(self) -> None:
        self._claimed: dict[bytes, tuple[bytes, int]] = {}  # by log: the peer it is pulled from, and since when

    def claim(self, peer: bytes, log: bytes, now_ms: int, *, at_once: bool = False) -> bool:
        """Whether the pull from `peer` may take `log` now; it gives up any other then. `at_once`: whoever else has it."""
        holder, since_ms = self._claimed.get(log, (peer, now_ms))
        if holder != peer and not at_once and now_ms - since_ms < limits.CLAIM_MS_MAX:
            return False
        if holder != peer or log not in self._claimed:
            self.release(peer)
            self._claimed[log] = (peer, now_ms)
        return True

    def release(self, peer: bytes) -> None:
        """The pull from `peer` has ended."""
        self._claimed = {log: claim for log, claim in self._claimed.items() if claim[0] != peer}
