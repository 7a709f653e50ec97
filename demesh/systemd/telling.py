"""What a node tells the service manager that runs it: that it starts, is ready, takes up its configuration anew, is well, stops.

    starting …  EXTEND_TIMEOUT_USEC, while the start advances
    ready       READY=1, once the first entry of this start is durable and the services listen
                STATUS=, when it has changed
                WATCHDOG=1, at half of the time it is wanted in
    reload      RELOADING=1 with MONOTONIC_USEC, then READY=1, whether the configuration was taken up or refused
    stop        STOPPING=1; what is written and said for farewell comes after

Guarantees: the watchdog is fed from the event loop, and only while nothing hangs that `demesh.pulse` knows of. A start that hangs
is not extended: each sign comes from a step that it takes, or from its waiting for a peer, which may last. Nothing at all is done
where nobody wants to know.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from demesh import limits
from demesh.clock import Clock, monotonic_us
from demesh.systemd.notify import Notifying
from demesh.systemd.status import Glance, status_line

log = logging.getLogger(__name__)
_US = 1_000_000


class Watched(Protocol):
    """What is asked of the node."""

    ready: trio.Event

    def hanging(self) -> list[str]: ...


class Telling:
    def __init__(self, notifying: Notifying, clock: Clock) -> None:
        self._notifying = notifying
        self._clock = clock
        self._signed_ms: int | None = None
        self._runs = False
        """Whether it is ready, and not asked to stop."""
        self._reloading = trio.Lock()
        self._owes_ready = False
        """Whether a reload is over and that could not be told yet."""
        self._status = ""
        self._hung: list[str] = []

    def starting(self, what: str, bytes_: int = 0) -> None:
        """The start has got as far as `what`, a clause. May be called again and again, from any thread.

        `bytes_` are to be read and written meanwhile, at the worst: a store goes to a new version in one piece.
        """
        now_ms = self._clock.monotonic_ms()
        same = f"starting: {what}" == self._status
        if self._runs or (
            same and self._signed_ms is not None and now_ms - self._signed_ms < limits.START_SIGN_SECONDS_MIN * 1_000
        ):
            return
        self._signed_ms, self._status = now_ms, f"starting: {what}"
        extended_us = (limits.START_EXTENDED_SECONDS + bytes_ // limits.START_BYTES_PER_SECOND) * _US
        self._notifying.tell(f"EXTEND_TIMEOUT_USEC={extended_us}", f"STATUS={self._status}")

    async def run(self, node: Watched, glance: Callable[[], Glance], stop: trio.Event) -> None:
        """Tell of a node until it stops, or until cancelled. `glance` looks at it once it is ready."""
        if self._notifying.address is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_while_it_runs, node, glance)
            await stop.wait()
            nursery.cancel_scope.cancel()
        self._runs = False
        self._notifying.tell("STOPPING=1", "STATUS=takes leave of the mesh")

    @asynccontextmanager
    async def reloading(self) -> AsyncGenerator[None]:
        """The configuration is taken up anew within the block. One at a time."""
        async with self._reloading:
            if not self._runs:
                yield
                return
            self._notifying.tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_us()}")
            try:
                yield
            finally:
                if self._runs:  # or it would take the stop back
                    self._owes_ready = not self._notifying.tell("READY=1")

    async def _tell_while_it_runs(self, node: Watched, glance: Callable[[], Glance]) -> None:
        await node.ready.wait()
        while not self._runs:
            self._status = status_line(glance())
            self._runs = self._notifying.tell("READY=1", f"STATUS={self._status}")
            if not self._runs:
                await trio.sleep(limits.WATCHDOG_AGAIN_SECONDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_status, glance)
            if self._notifying.watchdog_us is not None:
                nursery.start_soon(self._feed, node, self._notifying.watchdog_us / 2 / _US)

    async def _tell_status(self, glance: Callable[[], Glance]) -> None:
        while True:
            await trio.sleep(limits.STATUS_LOOK_SECONDS)
            if self._owes_ready and not self._reloading.locked():
                self._owes_ready = not self._notifying.tell("READY=1")
            line = status_line(glance())
            if line != self._status and self._notifying.tell(f"STATUS={line}"):
                self._status = line

    async def _feed(self, node: Watched, every_seconds: float) -> None:
        """Tell that all is well, as long as it is."""
        while True:
            hanging = node.hanging()
            if hanging != self._hung:
                self._hung = hanging
                if hanging:
                    what = ", ".join(hanging)
                    log.error("This node hangs, and the service manager is not told that it is well: %s.", what)
            fed = not hanging and self._notifying.tell("WATCHDOG=1")
            await trio.sleep(every_seconds if fed else min(every_seconds, limits.WATCHDOG_AGAIN_SECONDS))
