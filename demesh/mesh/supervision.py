"""When the network of a node is built anew, and what is told of it.

    starting ──started──> running ──died──> waiting ──delay──> starting
       └─ died before it ever ran: given up, with its sentence

A network that ran once is never given up: the node goes on watching, writing and alerting without it, and whatever took it
away (a bug of the library, a port that somebody else took meanwhile) may pass. What can never start, as a port that is taken or
an address that this machine does not have, is the operator's to mend, who is there at the first start.

The delay doubles from NETWORK_REBUILD_SECONDS_MIN to NETWORK_REBUILD_SECONDS_MAX, each taken short by chance by up to a half,
and begins anew once a network has run for NETWORK_STEADY_SECONDS: so one death costs a moment, and a network that dies again and
again costs little.

A network may also be dead though nothing failed, so it is examined now and then. Only what passed one since it was built can be
found dead: one that never passes says more about the machine (a firewall, no loopback) than about the network. It is rebuilt
after NETWORK_EXAMINATIONS_FAILED_MAX bad ones in a row, since one may be the fault of a machine that is too busy.

Pure: seconds of the monotonic clock and chance come in.
"""

from dataclasses import dataclass

from demesh import limits


@dataclass(frozen=True, slots=True)
class Condition:
    """What is told of a node's network at one moment. `problem` is why it failed the last time, empty if it never did."""

    rebuilds: int
    """How often it was built anew since the node started."""
    down_ms: int | None
    """For how long it does not run; None while it does."""
    died_ago_ms: int | None
    """How long ago it failed the last time; None if it never did."""
    problem: str


class Supervision:
    def __init__(self) -> None:
        self._rebuilds = 0
        self._problem = ""
        self._started_at: float | None = None
        self._down_since: float | None = None
        self._died_at: float | None = None
        self._deaths_in_a_row = 0
        self._has_passed = False
        self._failed_in_a_row = 0

    def condition(self, now: float) -> Condition:
        return Condition(self._rebuilds, _ms_since(self._down_since, now), _ms_since(self._died_at, now), self._problem)

    def started(self, now: float) -> float | None:
        """The network runs. Returns for how long it did not, None at the first start."""
        self._started_at = now
        self._has_passed, self._failed_in_a_row = False, 0
        if self._down_since is None:
            return None
        was_down = now - self._down_since
        self._down_since = None
        self._rebuilds += 1
        return was_down

    def died(self, now: float, problem: str, chance: float) -> float | None:
        """The network has ended, or could not be built. `chance` is in [0, 1).

        Returns after how many seconds to build it anew; None: never, as it has not run yet.
        """
        if self._started_at is None and self._down_since is None:
            return None
        if self._started_at is not None and now - self._started_at >= limits.NETWORK_STEADY_SECONDS:
            self._deaths_in_a_row = 0
        self._started_at = None
        self._problem, self._died_at = problem, now
        self._down_since = now if self._down_since is None else self._down_since
        # The power is bounded too, or the delay of a network that is down for months would not fit a float.
        doubled = limits.NETWORK_REBUILD_SECONDS_MIN * 2 ** min(self._deaths_in_a_row, 32)
        self._deaths_in_a_row += 1
        return min(doubled, limits.NETWORK_REBUILD_SECONDS_MAX) * (1 - chance / 2)

    def examined(self, problem: str) -> bool:
        """An examination came to an end, with nothing or with `problem`. Whether the network is to be taken for dead."""
        if not problem:
            self._has_passed, self._failed_in_a_row = True, 0
            return False
        self._failed_in_a_row += 1
        return self._has_passed and self._failed_in_a_row >= limits.NETWORK_EXAMINATIONS_FAILED_MAX


def _ms_since(at: float | None, now: float) -> int | None:
    return None if at is None else round((now - at) * 1_000)
