"""A marked test through every sink of one node: whether each is reached, and how fast.

The test is an alert named DemeshTest, of severity `none`, whose texts say that it is a test; where a sink would keep it open it
is told at once that it is over. It is in no log, opens no incident, and no other node knows of it.
"""

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from demesh.alerts.alertmanager import Post
from demesh.alerts.delivery import Notify
from demesh.alerts.incident import Incident
from demesh.alerts.message import Message
from demesh.alerts.sink import NO_SEVERITY, Sink
from demesh.clock import Clock
from demesh.errors import NetworkError
from demesh.target import public_target
from demesh.view.report import iso

TEST = "DemeshTest"
Tell = Callable[[dict[str, Any]], Awaitable[None]]


class SinkTrial:
    def __init__(
        self,
        alertmanagers: Sequence[str],
        sinks: Sequence[Sink],
        node: str,
        mesh: str,
        post: Post,
        notify: Notify,
        clock: Clock,
    ) -> None:
        self._alertmanagers = alertmanagers
        self._sinks = sinks
        self._node = node
        self._mesh = mesh
        self._post = post
        self._notify = notify
        self._clock = clock

    async def run(self, tell: Tell) -> None:
        """Test all at once; `tell` gets how many there are, then of each what came of it, as it comes."""
        await tell({"node": self._node, "sinks": len(self._alertmanagers) + len(self._sinks)})
        one_at_a_time = trio.Lock()
        async with trio.open_nursery() as nursery:

            async def one(name: str, kind: str, attempt: Callable[[], Awaitable[None]]) -> None:
                began, problem = trio.current_time(), None
                try:
                    await attempt()
                except NetworkError as error:
                    problem = str(error)
                took_ms = math.ceil((trio.current_time() - began) * 1_000)
                async with one_at_a_time:
                    await tell(
                        {"sink": name, "kind": kind, "arrived": problem is None, "took_ms": took_ms, "problem": problem}
                    )

            for url in self._alertmanagers:
                nursery.start_soon(one, public_target(url), "alertmanager", partial(self._alertmanager, url))
            for sink in self._sinks:
                kind = "webhook" if sink.is_webhook else "apprise"
                nursery.start_soon(one, sink.name, kind, partial(self._sink, sink))

    async def _alertmanager(self, url: str) -> None:
        incident = self._incident(self._clock.wall_ms())
        alert: dict[str, Any] = {"labels": dict(incident.labels), "annotations": dict(incident.annotations)}
        path = f"{url}/api/v2/alerts"
        told_ms = _taken(await self._post(path, json.dumps([alert]).encode()))
        # By its own clock, which its answer told: what ends there in the future is not over yet.
        alert["endsAt"] = iso(told_ms if told_ms is not None else self._clock.wall_ms())
        _taken(await self._post(path, json.dumps([alert]).encode()))

    async def _sink(self, sink: Sink) -> None:
        now_ms = self._clock.wall_ms()
        message = Message(self._incident(now_ms), "firing", now_ms, self._node, self._mesh)
        await self._notify(sink, message)
        if sink.is_webhook and sink.send_resolved:
            await self._notify(
                sink, Message(message.incident, "resolved", self._clock.wall_ms(), self._node, self._mesh)
            )

    def _incident(self, now_ms: int) -> Incident:
        labels = {"alertname": TEST, "mesh": self._mesh, "node": self._node, "severity": NO_SEVERITY}
        annotations = {
            "summary": f"This is a test: {self._node} can tell you when something fails",
            "description": f"Somebody asked {self._node} for it with `demesh alerts test`. Nothing is wrong.",
        }
        return Incident(
            TEST, self._node, self._node, now_ms, tuple(sorted(labels.items())), tuple(sorted(annotations.items()))
        )


def _taken(answer: tuple[int, int | None]) -> int | None:
    """The wall time of who took it. Raises NetworkError if it was refused."""
    status, their_wall_ms = answer
    if status // 100 != 2:
        raise NetworkError(f"it answered with status {status}.")
    return their_wall_ms
