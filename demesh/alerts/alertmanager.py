"""The Alertmanager sender: `POST /api/v2/alerts` to every configured one, each in a task of its own.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. An alert's identity is its label set, so any
number of nodes may post the same one; `endsAt` lies a few resends ahead, so an alert ends by itself when everybody stops
posting it. Both times are told by Alertmanager's clock, which its answers tell: by a clock that is minutes behind, an
alert would have ended before it began. That clock is carried on between answers by the time since boot, so neither a wall
clock that is set nor a machine that slept ends an alert. An Alertmanager that is away is tried again with growing delays and
then gets everything that is open.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from demesh import limits
from demesh.alerts.outbox import Outgoing
from demesh.clock import Clock
from demesh.errors import NetworkError
from demesh.metrics import ALERT_POSTS, begin
from demesh.target import public_target
from demesh.view.report import iso

log = logging.getLogger(__name__)
_SKEW_MS = 3_000  # less is rounding and the way

Post = Callable[[str, bytes], Awaitable[tuple[int, int | None]]]
"""(url, JSON document) -> HTTP status, and the server's own wall time in ms if it told it.

Raises NetworkError when there is no answer in time.
"""


class AlertmanagerSender:
    """Keeps one Alertmanager told. `outgoing` gives all there is to tell at this moment."""

    def __init__(self, url: str, post: Post, outgoing: Callable[[], Sequence[Outgoing]], clock: Clock) -> None:
        self._url = f"{url}/api/v2/alerts"
        self._name = public_target(url)
        self._post = post
        self._outgoing = outgoing
        self._clock = clock
        self._their_boot_ms: int | None = None
        """What their wall clock showed at our boot; None if they have never told."""
        self._answered = False
        self._reached_up_ms: int | None = None
        """When an alert got through last, since boot."""
        self._problem: str | None = None
        """Why the newest did not; empty if it did, None before there was any."""
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        begin(ALERT_POSTS, ("sent", "refused", "unreachable"), self._name)

    def stop(self) -> None:
        """End `run`."""
        self._scope.cancel()

    def told(self) -> dict[str, Any]:
        """How it stands, as `demesh status --json` tells it."""
        reached_ms = self._reached_up_ms
        ago_ms = None if reached_ms is None else self._clock.up_ms() - reached_ms
        return {
            "name": self._name,
            "ok": None if self._problem is None else not self._problem,
            "last_ok_at": None if ago_ms is None else iso(self._clock.wall_ms() - ago_ms),
            "problem": self._problem or None,
        }

    def poke(self) -> None:
        """Something changed: post now."""
        self._wake.set()

    async def run(self) -> None:
        """Post when poked and every ALERT_RESEND_MS, sooner after a failure, until stopped or cancelled."""
        with self._scope:
            await self._keep_posting()

    async def _keep_posting(self) -> None:
        failures = 0
        while True:
            wait_seconds = (
                min(2**failures / 2, limits.ALERT_RETRY_SECONDS_MAX) if failures else limits.ALERT_RESEND_MS / 1_000
            )
            with trio.move_on_after(wait_seconds):
                await self._wake.wait()
            self._wake = trio.Event()
            problem = await self._post_all()
            if problem and not failures:
                log.warning("Alerts do not reach %s: %s", self._name, problem)
            elif failures and not problem:
                log.warning("Alerts reach %s again.", self._name)
            failures = min(failures + 1, 10) if problem else 0

    async def _post_all(self) -> str:
        """Post everything; returns a sentence if something did not get through."""
        outgoing = self._outgoing()
        if not outgoing:
            return ""
        self._problem = await self._post_outgoing(outgoing)
        if not self._problem:
            self._reached_up_ms = self._clock.up_ms()
        return self._problem

    async def _post_outgoing(self, outgoing: Sequence[Outgoing]) -> str:
        if not self._answered and (problem := await self._post_one([])):
            return problem
        alerts = [_alert(each, self._ahead_ms()) for each in outgoing]
        chunks = range(0, len(alerts), limits.ALERTS_PER_POST_MAX)
        # The valid ones of a refused post are stored all the same, and the others' are no reason to hold back the rest.
        problems = [await self._post_one(alerts[start : start + limits.ALERTS_PER_POST_MAX]) for start in chunks]
        return next(filter(None, problems), "")

    async def _post_one(self, alerts: list[dict[str, Any]]) -> str:
        """Post some; returns a sentence if they did not get through. Compares the clocks on the way."""
        try:
            status, their_wall_ms = await self._post(self._url, json.dumps(alerts).encode())
        except NetworkError as error:
            ALERT_POSTS.labels(self._name, "unreachable").inc()
            return str(error)
        self._answered = True
        self._their_boot_ms = their_wall_ms - self._clock.up_ms() if their_wall_ms is not None else None
        if status // 100 != 2:
            ALERT_POSTS.labels(self._name, "refused").inc()
            return f"it answered with status {status}."
        ALERT_POSTS.labels(self._name, "sent").inc(bool(alerts))
        return ""

    def _ahead_ms(self) -> int:
        """How far their wall clock is ahead of ours now."""
        if self._their_boot_ms is None:
            return 0
        skew_ms = self._their_boot_ms + self._clock.up_ms() - self._clock.wall_ms()
        return skew_ms if abs(skew_ms) > _SKEW_MS else 0


def _alert(each: Outgoing, ahead_ms: int) -> dict[str, Any]:
    return {
        "labels": dict(each.incident.labels),
        "annotations": dict(each.incident.annotations),
        "startsAt": iso(each.starts_ms + ahead_ms),
        "endsAt": iso(each.ends_ms + ahead_ms),
    }
