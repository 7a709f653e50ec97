"""What is known of one log, and of the member whose log it is. Filled in by `demesh.view.fold`."""

from dataclasses import dataclass, field

from demesh.log.bye import LEFT, Bye
from demesh.log.entry import Entry
from demesh.log.evidence import Fork
from demesh.log.hello import Hello
from demesh.log.plan import Plan, PlanReader
from demesh.view.freshness import LogClock
from demesh.view.presence import LastSign
from demesh.view.sharing import Span
from demesh.view.tellings import LogTellings
from demesh.view.vote import VoteState
from demesh.view.warnings import Warned


@dataclass(slots=True)
class LogView:
    """What one log says."""

    log: bytes
    public_key: bytes
    hello: Hello | None = None
    bye: Bye | None = None
    newest: Entry | None = None
    plans: dict[int, Plan] = field(default_factory=dict[int, Plan])
    votes: dict[tuple[str, bytes], VoteState] = field(default_factory=dict[tuple[str, bytes], VoteState])
    clock: LogClock = field(default_factory=LogClock)
    plan_reader: PlanReader = field(default_factory=PlanReader)
    warnings: list[Warned] = field(default_factory=list[Warned])
    """The newest, oldest first."""
    tellings: LogTellings = field(default_factory=LogTellings)
    """What it says of sinks."""
    fork: Fork | None = None
    """Where its owner is proven to have signed two histories: there it ends."""
    voted_seq: int = -1
    """Up to where `votes` were restored."""
    lived: Span | None = None
    """The signs of life it gave since we listen."""

    @property
    def plan(self) -> Plan | None:
        """The newest valid plan."""
        return self.plans[max(self.plans)] if self.plans else None


@dataclass(slots=True)
class Member:
    """A member by its key. `current` is the log that last gave a sign of life, else its latest epoch."""

    public_key: bytes
    current: LogView
    sign: LastSign
    heard: bool = False
    """Whether it gave a sign of life since we began to listen."""
    silent_ms: int = 0
    """For how long this node has observed its silence since its last sign of life, over all runs of this node."""
    gone: bool = False
    """Forgotten, or silent for too long; until its next sign of life."""

    @property
    def left(self) -> bool:
        return self.gone or (self.current.bye is not None and self.current.bye.reason == LEFT)
