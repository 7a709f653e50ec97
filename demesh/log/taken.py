"""What becomes of entries that are offered to the logs of a node (`demesh.log.chain`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from demesh.log.entry import Entry
from demesh.log.state import LogState


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries `first` to `last` of a log are missing before something that was offered can be taken."""

    log: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was offered and not taken. `reason` is a short token for counters."""

    log: bytes
    seq: int
    reason: str


@dataclass(slots=True)
class Taken:
    """What became of an offer. `accepted` is in the order in which it must be stored."""

    accepted: list[Entry] = field(default_factory=list[Entry])
    gaps: list[Gap] = field(default_factory=list[Gap])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    repeated: int = 0
    dropped: list[bytes] = field(default_factory=list[bytes])
    """Logs that made room for what was accepted."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A log that was taken up in its middle, and the logs that made room for it."""

    state: LogState
    dropped: Sequence[bytes] = ()
