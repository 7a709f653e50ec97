"""The heartbeat to a watcher outside the mesh: a URL that is fetched every minute while this node is healthy.

Healthy is a node whose loop runs (else nothing is fetched) and whose own log keeps its promise: the store writes. Whoever waits
for the fetches learns of the end of the whole mesh, which nobody in it could tell. The URL is a secret.
"""

import logging
from collections.abc import Callable

import trio

from demesh import limits
from demesh.alerts.delivery import Fetch
from demesh.alerts.sink import shown_url
from demesh.clock import Clock
from demesh.errors import NetworkError
from demesh.metrics import HEARTBEATS, begin
from demesh.view.fold import View

log = logging.getLogger(__name__)


class Heartbeat:
    """`url` is asked for at each beat; None: there is none."""

    def __init__(self, view: View, own_key: bytes, clock: Clock, fetch: Fetch, url: Callable[[], str | None]) -> None:
        self._view = view
        self._own_key = own_key
        self._clock = clock
        self._fetch = fetch
        self._url = url
        self._failing = False
        begin(HEARTBEATS, ("sent", "failed", "held_back"))

    async def run(self) -> None:
        """Fetch, until cancelled."""
        while True:
            if (url := self._url()) is not None:
                await self._beat(url)
            await trio.sleep(limits.HEARTBEAT_SECONDS)

    async def _beat(self, url: str) -> None:
        if not self._writes():
            HEARTBEATS.labels("held_back").inc()
            return
        problem = ""
        try:
            status = await self._fetch(url)
            if status // 100 != 2:
                problem = f"it answered with status {status}."
        except NetworkError as error:
            problem = str(error)
        HEARTBEATS.labels("failed" if problem else "sent").inc()
        if problem and not self._failing:
            log.warning("The heartbeat does not reach %s: %s", shown_url(url), problem)
        elif self._failing and not problem:
            log.warning("The heartbeat reaches %s again.", shown_url(url))
        self._failing = bool(problem)

    def _writes(self) -> bool:
        """Whether the newest own entry is no older than it promised the next one to be."""
        own = self._view.member(self._own_key)
        newest = own.current.newest if own else None
        if newest is None or newest.boot8 != self._clock.boot8:
            return False
        return self._clock.up_ms() - newest.up_ms <= newest.next_ms
