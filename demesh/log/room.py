"""Which logs a node takes no more, and which one gives way where there is no room for another.

A member's newest epoch is what matters: without it the member looks silent. So where no more logs fit (EPOCHS_PER_KEY_MAX of
one key, LOGS_MAX in all), an epoch that is newer than what is held of its member takes the place of that member's oldest
one. Nobody's epochs cost anybody else a log.

Newer is: told by its author as it begins (gossip from its own node), or naming one that is held as the one before it, or dated
after all of them. Dates are the author's own; who sets them wrong loses logs of its own only.

A log that gave way is not taken again, so that peers that still hold it do not bring it back in place of the next: that is
remembered until the node ends, of EPOCHS_DROPPED_MAX logs. After that it is the oldest again, and no newer one's place is free.
"""

from collections.abc import Mapping, Sequence

from demesh import limits
from demesh.log.hello import Hello


class Gone:
    """Ids of logs that are taken no more: those carried, for good, and those that gave way, for now. Both bounded."""

    def __init__(self) -> None:
        self._carried: dict[bytes, dict[bytes, None]] = {}
        self._all_carried: set[bytes] = set()
        self._dropped: dict[bytes, None] = {}

    def __contains__(self, log: bytes) -> bool:
        return log in self._all_carried or log in self._dropped

    def carry(self, public_key: bytes, logs: Sequence[bytes]) -> None:
        """Take note of logs of a key that are carried; of each key the CARRIED_LOGS_MAX named last are known."""
        known = self._carried.setdefault(public_key, {})
        for log in logs:
            known.pop(log, None)
            known[log] = None
        self._all_carried.update(logs)
        for log in list(known)[: -limits.CARRIED_LOGS_MAX]:
            del known[log]
            self._all_carried.discard(log)

    def drop(self, log: bytes) -> None:
        """Take note of a log that gave way."""
        self._dropped[log] = None
        if len(self._dropped) > limits.EPOCHS_DROPPED_MAX:
            del self._dropped[next(iter(self._dropped))]


def gives_way(epochs: Mapping[bytes, int], new: Hello, dated_ms: int, *, is_news: bool) -> bytes | None:
    """Which of `epochs`, with the wall clocks of their heads, gives way to one that begins with `new`; None: it is not newer.

    `epochs` are the logs held of the same key; `dated_ms` is the newest date known of the new one.
    """
    previous = new.previous[0] if new.previous else None
    if not epochs or not (is_news or previous in epochs or dated_ms > max(epochs.values())):
        return None
    return min((log for log in epochs if log != previous or len(epochs) == 1), key=lambda log: (epochs[log], log))
