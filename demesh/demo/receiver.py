"""Where the nodes reach the phone: Alertmanager's `POST /api/v2/alerts`, on a loopback port."""

import json
from queue import Empty, SimpleQueue

from demesh import limits
from demesh.clock import Clock
from demesh.demo.phone import Alert, Call, Phone, read_alerts
from demesh.demo.serving import QuietHandler, Serving


class Receiver:
    """Takes what nodes post, in threads; `calls` gives it to the phone, in the thread that asks."""

    def __init__(self, clock: Clock, port: int) -> None:
        self.phone = Phone()
        self._clock = clock
        self._posts: SimpleQueue[list[Alert]] = SimpleQueue()
        self._serving = Serving(_handler(self._posts), port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._serving.port}"

    def calls(self) -> list[Call]:
        """What the phone shows that it has not shown before."""
        now_ms = self._clock.wall_ms()
        calls: list[Call] = []
        while True:
            try:
                calls.extend(self.phone.take(self._posts.get_nowait(), now_ms))
            except Empty:
                return [*calls, *self.phone.tick(now_ms)]

    def close(self) -> None:
        self._serving.close()


def _handler(posts: SimpleQueue[list[Alert]]) -> type[QuietHandler]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 the base class calls it so
            length = int(self.headers.get("Content-Length", "0"))
            try:
                if self.path != "/api/v2/alerts" or not 0 <= length <= limits.DEMO_POST_BYTES_MAX:
                    raise ValueError
                posts.put(read_alerts(json.loads(self.rfile.read(length))))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.reply(400, "These are no alerts.")
            else:
                self.reply(200, "Thank you.")

    return Handler
