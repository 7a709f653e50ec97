"""Who may run now: bounds on how many probes are under way, so that none starves another and no host is crowded.

A run takes a place at its target's host, in the pool of its type, among the slow if it was slow last time, and among all, in
this order, and waits for each in turn. Then it keeps the distance from the last start at its host. Blocking types have pools
of their own that are smaller than the whole, and checks that timed out last time share three quarters of it: dead targets
wait for each other, the living never for the dead.

Loopback hosts are not crowded: what is asked there belongs to this machine. Types whose target is no URL have no host.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
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

    @asynccontextmanager
    async def place(self, spec: ProbeSpec, host_name: str | None, *, slow: bool) -> AsyncGenerator[None]:
        """Wait for a place for one run, and keep it meanwhile. `host_name` is `host_of(spec)`."""
        host = self._hosts.get(host_name) if host_name else None
        async with AsyncExitStack() as held:
            if host:
                await held.enter_async_context(host.places)
            if pool := self._pools.get(spec.type):
                await held.enter_async_context(pool)
            if slow:
                await held.enter_async_context(self._slow)
            await held.enter_async_context(self._all)
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
