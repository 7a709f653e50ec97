"""Who may run now: bounds on how many probes are under way, so that none starves another and no host is crowded.

A run takes a place at its target's host, in the pool of its type, and among all, in this order, and waits for each in turn.
Then it keeps the distance from the last start at its host. Blocking types have pools of their own that are smaller than the
whole.

Every pool, a host's too, keeps places that checks may not use whose last run timed out, and of these some that only checks
may use whose last run answered. So dead targets wait for each other, what has not run yet does not wait for what is known to
be dead, and what answers waits for neither, however many they are.

Not guaranteed: that a first run does not wait for others' first runs that hang, if they are more than UNPROVEN_SHARE of a
pool; nor that nobody waits when more checks than a pool has places left begin to hang at once. Either lasts until these have
timed out: from then on they count as dead.

Loopback hosts are not crowded: what is asked there belongs to this machine. Types whose target is no URL have no host.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum, auto
from ipaddress import ip_address
from urllib.parse import urlsplit

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec

_POOLS = {"command": limits.COMMANDS_IN_FLIGHT_MAX, "python": limits.PLUGINS_IN_FLIGHT_MAX}


class Standing(Enum):
    """What the last run of a check lets one expect of the next."""

    NEW = auto()
    ANSWERED = auto()
    TIMED_OUT = auto()

    def after(self, outcome: Outcome, *, in_time: bool) -> "Standing":
        """The standing after one more run. An error that comes in time says nothing: a plug-in that hangs refuses to run."""
        if outcome is Outcome.TIMEOUT or not in_time:
            return Standing.TIMED_OUT
        return self if outcome is Outcome.ERROR else Standing.ANSWERED


class _Pool:
    __slots__ = ("_all", "_timed_out", "_unproven")

    def __init__(self, most: int) -> None:
        self._all = trio.CapacityLimiter(most)
        self._unproven = trio.CapacityLimiter(int(most * limits.UNPROVEN_SHARE))
        self._timed_out = trio.CapacityLimiter(int(most * limits.TIMED_OUT_SHARE))

    async def enter(self, held: AsyncExitStack, standing: Standing) -> None:
        """Wait for a place, and leave it with `held`. Whoever waits for a share takes no place from the others."""
        if standing is Standing.TIMED_OUT:
            await held.enter_async_context(self._timed_out)
        if standing is not Standing.ANSWERED:
            await held.enter_async_context(self._unproven)
        await held.enter_async_context(self._all)


class _Host:
    __slots__ = ("free_from_ms", "places")

    def __init__(self) -> None:
        self.places = _Pool(limits.PROBES_PER_HOST_MAX)
        self.free_from_ms = 0


class Places:
    """Times are monotonic milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = _Pool(limits.PROBES_IN_FLIGHT_MAX)
        self._pools = {type_: _Pool(most) for type_, most in _POOLS.items()}
        self._hosts: dict[str, _Host] = {}

    def know(self, hosts: frozenset[str]) -> None:
        """Remember these hosts, and forget the others."""
        self._hosts = {name: self._hosts.get(name) or _Host() for name in hosts}

    @asynccontextmanager
    async def place(self, spec: ProbeSpec, host_name: str | None, standing: Standing) -> AsyncGenerator[None]:
        """Wait for a place for one run, and keep it meanwhile. `host_name` is `host_of(spec)`."""
        host = self._hosts.get(host_name) if host_name else None
        async with AsyncExitStack() as held:
            if host:
                await host.places.enter(held, standing)
            if pool := self._pools.get(spec.type):
                await pool.enter(held, standing)
            await self._all.enter(held, standing)
            if host:
                now_ms = self._clock.monotonic_ms()
                start_ms = max(now_ms, host.free_from_ms)
                host.free_from_ms = start_ms + limits.HOST_SPACING_MS
                if start_ms > now_ms:
                    await trio.sleep((start_ms - now_ms) / 1_000)
            yield


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
