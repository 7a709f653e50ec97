"""What is known of one log, and of the member whose log it is. Filled in by `demesh.view.fold`."""

from dataclasses import dataclass, field

from demesh.log.bye import LEFT, Bye
from demesh.log.entry import Entry
from demesh.log.evidence import Fork
from demesh.log.hello import Hello
from demesh.log.plan import Plan, PlanReader
from demesh.view.decisions import Decided
from demesh.view.freshness import LogClock
from demesh.view.notices import Notices
from demesh.view.presence import LastSign
from demesh.view.sharing import Span
from demesh.view.tellings import LogTellings
from demesh.view.vote import VoteState
from demesh.view.warnings import Warned


@dataclass(frozen=True, slots=True)
class Pause:
    """How long, at most, a log went without an entry; `booted`: its machine has booted meanwhile, so nobody can say."""

    longest_ms: int = 0
    booted: bool = False

    def between(self, before: Entry | None, after: Entry) -> "Pause":
        """What the entry that follows `before` makes of it."""
        if before is None:
            return self
        if before.boot8 != after.boot8:
            return Pause(self.longest_ms, booted=True)
        passed_ms = after.up_ms - before.up_ms
        return Pause(passed_ms, self.booted) if passed_ms > self.longest_ms else self


@dataclass(frozen=True, slots=True)
class Absence:
    """A silence that has ended: for how long nothing was heard, and what the log that came afterwards tells of that time."""

    quiet_ms: int
    pause: Pause

    @property
    def was_running(self) -> bool:
        """Whether it wrote all the time, as far as its log tells: it could not be heard, and was not down."""
        return not self.pause.booted and 2 * self.pause.longest_ms < self.quiet_ms


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
    decided: Decided = field(default_factory=Decided)
    notices: Notices = field(default_factory=Notices)
    tellings: LogTellings = field(default_factory=LogTellings)
    """What it says of sinks."""
    fork: Fork | None = None
    """Where its owner is proven to have signed two histories: there it ends."""
    voted_seq: int = -1
    """Up to where `votes` were restored."""
    lived: Span | None = None
    """The signs of life it gave since we listen."""
    planned: tuple[bytes, int] | None = None
    """When the newest plan was written: boot and up time."""
    pause: Pause = Pause()
    """The longest time in which nothing was written, since its owner's last sign of life."""

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
    alive_since_ms: int | None = None
    """Since when it was heard again and again (monotonic); None before its first sign of life."""
    absence: Absence | None = None
    """Its last silence that has ended, since we listen."""
    gone: bool = False
    """Forgotten, or silent for too long; until its next sign of life."""

    @property
    def left(self) -> bool:
        return self.gone or (self.current.bye is not None and self.current.bye.reason == LEFT)
