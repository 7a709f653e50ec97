"""How much a run measures, and where its files go."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scope:
    """`place` is an empty directory of the benchmark's own. `quick`: small numbers, to see that it works."""

    place: Path
    quick: bool

    def choose(self, full: _T, quick: _T) -> _T:
        return quick if self.quick else full
