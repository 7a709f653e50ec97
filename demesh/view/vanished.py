"""Which members vanished together, and are one incident, and which one by one. Pure; times are monotonic milliseconds.

    silent, and another silent one was heard last at about the same time     together, until no other of them is gone
    silent, and another one that is not yet was heard last at that time      waits, until that one is silent or heard
    silent otherwise                                                         alone, until it is heard again or leaves

About the same time is within what the two had promised: members that are cut off at one moment were heard last at some
moment of the interval in which they write, and one entry of theirs may have been lost. Who is well was heard long after
one that is silent by now, or will be in a moment, which ends the wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from demesh import limits


@dataclass(frozen=True, slots=True)
class Gone:
    """When a member was heard last, and what it had promised then. `suspect`: it is not silent, or not yet."""

    heard_ms: int
    next_ms: int
    suspect: bool = False

    def with_(self, other: "Gone") -> bool:
        return abs(self.heard_ms - other.heard_ms) <= max(self.next_ms, other.next_ms)


class Vanished:
    def __init__(self) -> None:
        self.together: dict[bytes, int] = {}
        """Since when each is known to have vanished with others."""
        self.alone: set[bytes] = set()
        self._restored: set[bytes] = set()

    def restore(self, together: Collection[bytes], alone: Collection[bytes], now_ms: int) -> None:
        """What was so before a restart stays so until they are heard, though nobody is silent who had no time to speak yet."""
        self.together.update(dict.fromkeys(together, now_ms))
        self.alone.update(alone)
        self._restored.update(together, alone)

    def look(self, gone: Mapping[bytes, Gone], unheard: Collection[bytes], now_ms: int) -> None:
        """`gone` are all who are silent or might be soon, `unheard` the members that were not heard since we listen."""
        silent = {key: each for key, each in gone.items() if not each.suspect}
        self._restored.intersection_update(unheard)
        kept = silent.keys() | self._restored
        self.together = {key: since_ms for key, since_ms in self.together.items() if key in kept}
        self.alone &= kept
        for key, each in sorted(silent.items()):
            if key in self.together or key in self.alone:
                continue
            others = {other: found for other, found in gone.items() if other != key and each.with_(found)}
            with_it = [other for other, found in others.items() if not found.suspect and other not in self.alone]
            if with_it and not self._is_old(now_ms):
                for member in (key, *with_it):
                    self.together.setdefault(member, now_ms)
            elif with_it or all(not found.suspect for found in others.values()):
                self.alone.add(key)
        if len(self.together) == 1 and not self._restored.intersection(self.together):
            self.alone.update(self.together)  # the others are back: this one is gone by itself
            self.together = {}

    def _is_old(self, now_ms: int) -> bool:
        """Whether those that vanished together did so long ago: who vanishes now is told of by itself."""
        return any(now_ms - since_ms > limits.PARTITION_VOTES_MS for since_ms in self.together.values())
