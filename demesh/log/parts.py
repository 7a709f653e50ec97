"""A payload that takes several entries: written in one go, its parts follow each other in one log, numbered from 0.

Guarantees: a whole is only what came without anything between its parts, from the first to the last, all of which agreed on
how many they are.
"""

from typing import Generic, TypeVar

_Part = TypeVar("_Part")


class Parts(Generic[_Part]):
    """Puts wholes together, from a log's entries in order."""

    __slots__ = ("_first_seq", "_parts", "gathered")

    def __init__(self) -> None:
        self.gathered: list[_Part] = []
        """The parts so far of what is not whole yet."""
        self._first_seq = 0
        self._parts = 0

    def add(self, seq: int, part: int, parts: int, said: _Part) -> tuple[int, list[_Part]] | None:
        """Entry `seq` is part `part` of `parts` and says `said`. If that makes it whole: its first place, and all parts."""
        if part == 0:
            self.gathered = []
            self._first_seq, self._parts = seq, parts
        fits = part == len(self.gathered) and seq == self._first_seq + part and parts == self._parts
        if not fits:
            self.gathered = []
            return None
        self.gathered.append(said)
        if part + 1 < parts:
            return None
        whole, self.gathered = self.gathered, []
        return self._first_seq, whole

    def give_up(self) -> None:
        """Something else stands where the next part should."""
        self.gathered = []
