"""Who may run now: bounds on how many probes are under way, so that none starves another and no host is crowded. Pure.

A run takes a place at its target's host, in the pool of its type if that has one, and among all, in this order, and waits for
each in turn. Then it keeps the distance from the last start at its host.

A place is for work, and what hangs does not work: when a run has had its place for the pool's turn and others wait, it lingers:
it goes on, counted apart, and its place is given on. How many may linger is bounded by what a hanging run really takes: a
descriptor, a process, a thread, an open connection at the host.

Guarantees, for a run of a check that hangs, whatever it is and however many there are of them:

- it delays a check that answered the last time only if more checks than are kept for these (an eighth of the places) begin to
  hang within one turn, and then by turn / places each;
- it delays a first run by turn / (7/8 of the places) at most: 1.1 ms; at one host 36 ms; in the pool of commands 18 ms, of
  plug-ins 36 ms;
- only when no more may linger, by its timeout / (places and lingering) besides: 18 ms in the pool of commands, if it has 10 s.

To this end every pool keeps places that checks may not use whose last run timed out, and of these some that only checks may use
whose last run answered. So in a full pool dead targets wait for each other, what has not run yet does not wait for what is
known to be dead, and what answers waits for neither. A check whose run goes on is not run again: however often it hangs, it
takes one place.

Loopback hosts are not crowded: what is asked there belongs to this machine. Types whose target is no URL have no host.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import ip_address
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from demesh import limits
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec

T = TypeVar("T")


class Standing(Enum):
    """What the last run of a check lets one expect of the next. Those that answered come first."""

    ANSWERED = auto()
    NEW = auto()
    TIMED_OUT = auto()

    def after(self, outcome: Outcome, *, in_time: bool) -> "Standing":
        """The standing after one more run. An error that comes in time says nothing: a plug-in that hangs refuses to run."""
        if outcome is Outcome.TIMEOUT or not in_time:
            return Standing.TIMED_OUT
        return self if outcome is Outcome.ERROR else Standing.ANSWERED


_SHARES = {
    Standing.ANSWERED: (Standing.ANSWERED,),
    Standing.NEW: (Standing.ANSWERED, Standing.NEW),
    Standing.TIMED_OUT: (Standing.ANSWERED, Standing.NEW, Standing.TIMED_OUT),
}
"""Of whose room a run takes one place: nobody's is ever overdrawn."""


@dataclass(slots=True, eq=False)
class Claim(Generic[T]):
    """What one run has of what it needs. It may begin at `begins_ms`; None: it waits."""

    run: T
    standing: Standing
    pools: "tuple[_Pool[T], ...]"
    host: "_Host[T] | None"
    held: int = 0
    """Of `pools`, the first so many."""
    begins_ms: int | None = None


class _Pool(Generic[T]):
    __slots__ = ("_at_work", "_lingering", "_lingering_max", "_places", "_room", "_turn_ms", "_waiting")

    def __init__(self, places: int, lingering_max: int, turn_ms: int) -> None:
        self._places = places
        self._lingering_max = lingering_max
        self._turn_ms = turn_ms
        self._room = {
            Standing.ANSWERED: places,
            Standing.NEW: int(places * limits.UNPROVEN_SHARE),
            Standing.TIMED_OUT: int(places * limits.TIMED_OUT_SHARE),
        }
        self._at_work: OrderedDict[Claim[T], int] = OrderedDict()  # and when each one's turn is over
        self._lingering: set[Claim[T]] = set()
        self._waiting: dict[Standing, deque[Claim[T]]] = {standing: deque() for standing in Standing}

    def take(self, claim: Claim[T], now_ms: int) -> bool:
        """Take a place, or wait for one."""
        if not self._waiting[claim.standing] and self._has_room(claim.standing, now_ms):
            self._count(claim, -1)
            return True
        self._waiting[claim.standing].append(claim)
        return False

    def wait_no_more(self, claim: Claim[T]) -> None:
        self._waiting[claim.standing].remove(claim)

    def begin(self, claim: Claim[T], at_ms: int) -> None:
        self._at_work[claim] = at_ms + self._turn_ms

    def give_back(self, claim: Claim[T]) -> None:
        self._at_work.pop(claim, None)
        if claim in self._lingering:
            self._lingering.remove(claim)
        else:
            self._count(claim, +1)

    def next_admitted(self, now_ms: int) -> Claim[T] | None:
        """The next of those that wait, if there is room for one: now it has its place."""
        for standing, waiting in self._waiting.items():
            if waiting and self._has_room(standing, now_ms):
                self._count(waiting[0], -1)
                return waiting.popleft()
        return None

    @property
    def is_crowded(self) -> bool:
        return any(self._waiting.values())

    @property
    def turn_over_ms(self) -> float:
        """When the next run may linger, if it goes on until then; infinite if none may."""
        if len(self._lingering) >= self._lingering_max:
            return float("inf")
        return next(iter(self._at_work.values()), float("inf"))

    def _has_room(self, standing: Standing, now_ms: int) -> bool:
        while not all(self._room[each] for each in _SHARES[standing]):
            if self.turn_over_ms > now_ms:
                return False
            claim, _ = self._at_work.popitem(last=False)
            self._lingering.add(claim)
            self._count(claim, +1)
        return True

    def _count(self, claim: Claim[T], change: int) -> None:
        for standing in _SHARES[claim.standing]:
            self._room[standing] += change


class _Host(Generic[T]):
    __slots__ = ("free_from_ms", "pool")

    def __init__(self) -> None:
        self.pool = _Pool[T](limits.HOST_PLACES_MAX, limits.HOST_LINGERING_MAX, limits.PROBE_TURN_MS)
        self.free_from_ms = 0


class Places(Generic[T]):
    """Times are monotonic milliseconds. Every method that lets runs begin returns their claims, to be begun in this order."""

    def __init__(self, descriptors: int) -> None:
        """`descriptors`: how many this process may have open."""
        at_work = limits.PROBE_PLACES_MAX + limits.OTHER_ADDRESSES_MAX
        spare = (descriptors - limits.DESCRIPTORS_KEPT) // limits.PROBE_DESCRIPTORS_MAX - at_work
        lingering_max = max(0, min(limits.PROBES_LINGERING_MAX, spare))
        self._all = _Pool[T](limits.PROBE_PLACES_MAX, lingering_max, limits.PROBE_TURN_MS)
        self._pools = {
            "command": _Pool[T](limits.COMMAND_PLACES_MAX, limits.COMMANDS_LINGERING_MAX, limits.BLOCKING_TURN_MS),
            "python": _Pool[T](limits.PLUGIN_PLACES_MAX, limits.PLUGINS_LINGERING_MAX, limits.BLOCKING_TURN_MS),
        }
        self._hosts: dict[str, _Host[T]] = {}
        self._crowded: dict[_Pool[T], None] = {}

    def know(self, hosts: frozenset[str]) -> None:
        """Forget all other hosts. A run under way keeps what it holds."""
        self._hosts = {name: self._hosts.get(name) or _Host() for name in hosts}

    def ask(self, run: T, type_: str, host_name: str | None, standing: Standing, now_ms: int) -> Claim[T]:
        """Claim places for a run of this type and `host_of`. It may begin at the claim's `begins_ms`, or is named later."""
        host = self._hosts.get(host_name) if host_name else None
        of_type = self._pools.get(type_)
        pools = (*((host.pool,) if host else ()), *((of_type,) if of_type else ()), self._all)
        claim = Claim(run, standing, pools, host)
        self._advance(claim, now_ms)
        return claim

    def leave(self, claim: Claim[T], now_ms: int) -> list[Claim[T]]:
        """A run has ended, or shall not begin."""
        for pool in claim.pools[: claim.held]:
            pool.give_back(claim)
        if claim.begins_ms is None:
            claim.pools[claim.held].wait_no_more(claim)
        return self._admit([pool for pool in claim.pools if pool in self._crowded], now_ms) if self._crowded else []

    def turn_over(self, now_ms: int) -> list[Claim[T]]:
        """Let those linger that have had their turn, where others wait."""
        return self._admit(list(self._crowded), now_ms) if self._crowded else []

    @property
    def turn_over_ms(self) -> float:
        """When to call `turn_over` next."""
        return min((pool.turn_over_ms for pool in self._crowded), default=float("inf"))

    def _admit(self, pools: Iterable["_Pool[T]"], now_ms: int) -> list[Claim[T]]:
        begun: list[Claim[T]] = []
        for pool in pools:
            while (claim := pool.next_admitted(now_ms)) is not None:
                claim.held += 1
                if self._advance(claim, now_ms):
                    begun.append(claim)
            if not pool.is_crowded:
                self._crowded.pop(pool, None)
        return begun

    def _advance(self, claim: Claim[T], now_ms: int) -> bool:
        """Take what `claim` still lacks; returns whether it has all."""
        for pool in claim.pools[claim.held :]:
            if not pool.take(claim, now_ms):
                self._crowded[pool] = None
                return False
            claim.held += 1
        begins_ms = now_ms
        if claim.host:
            begins_ms = max(now_ms, claim.host.free_from_ms)
            claim.host.free_from_ms = begins_ms + limits.HOST_SPACING_MS
        for pool in claim.pools:
            pool.begin(claim, begins_ms)
        claim.begins_ms = begins_ms
        return True


def host_of(spec: ProbeSpec) -> str | None:
    """The host that probing `spec` may crowd, if there is one."""
    try:
        name = urlsplit(spec.target).hostname
    except ValueError:
        return None
    if not name or name == "localhost" or name.endswith(".localhost"):
        return None
    try:
        return None if ip_address(name).is_loopback else name
    except ValueError:
        return name
