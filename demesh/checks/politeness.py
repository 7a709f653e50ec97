"""Who may run now: bounds on how many probes are under way, so that none starves another and no host is crowded.

A run takes a place at its target's host, in the pool of its type, among the slow if it was slow last time, and among all, in
this order, and waits for each in turn. Then it keeps the distance from the last start at its host. Blocking types have pools
of their own that are smaller than the whole, and checks that timed out last time share three quarters of it: dead targets
wait for each other, the living never for the dead.

Loopback hosts are not crowded: what is asked there belongs to this machine. Types whose target is no URL have no host.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.probes.base import ProbeSpec

_POOLS = {"command": limits.COMMANDS_IN_FLIGHT_MAX, "python": limits.PLUGINS_IN_FLIGHT_MAX}


class _Host:
    __slots__ = ("free_from_ms", "places")

    def __init__(self) -> None:
        self.places = trio.CapacityLimiter(limits.PROBES_PER_HOST_MAX)
        self.free_from_ms = 0


class Places:
    """Times are monotonic milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = trio.CapacityLimiter(limits.PROBES_IN_FLIGHT_MAX)
        self._slow = trio.CapacityLimiter(limits.PROBES_SLOW_IN_FLIGHT_MAX)
        self._pools = {type_: trio.CapacityLimiter(most) for type_, most in _POOLS.items()}
        self._hosts: dict[str, _Host] = {}

    def know(self, hosts: frozenset[str]) -> None:
        """Remember these hosts, and forget the others."""
        self._hosts = {name: self._hosts.get(name) or _Host() for name in hosts}

    def place(self, spec: ProbeSpec, host_name: str | None, *, slow: bool) -> "_Place":
        """Wait for a place for one run, and keep it meanwhile. `host_name` is `host_of(spec)`."""
        host = self._hosts.get(host_name) if host_name else None
        pool = self._pools.get(spec.type)
        limiters = (host and host.places, pool, self._slow if slow else None, self._all)
        return _Place([each for each in limiters if each], host, self._clock)


class _Place:
    """Not a generator with a stack of contexts: this is done for every run, and nearly always there is room at once."""

    __slots__ = ("_clock", "_held", "_host", "_limiters")

    def __init__(self, limiters: Sequence[trio.CapacityLimiter], host: _Host | None, clock: Clock) -> None:
        self._limiters = limiters
        self._held = 0
        self._host = host
        self._clock = clock

    async def __aenter__(self) -> None:
        try:
            for limiter in self._limiters:
                try:
                    limiter.acquire_nowait()
                except trio.WouldBlock:
                    await limiter.acquire()
                self._held += 1
            if self._host:
                await self._keep_distance(self._host)
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    async def _keep_distance(self, host: _Host) -> None:
        now_ms = self._clock.monotonic_ms()
        start_ms = max(now_ms, host.free_from_ms)
        host.free_from_ms = start_ms + limits.HOST_SPACING_MS
        if start_ms > now_ms:
            await trio.sleep((start_ms - now_ms) / 1_000)

    def _release(self) -> None:
        for limiter in self._limiters[: self._held]:
            limiter.release()


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
