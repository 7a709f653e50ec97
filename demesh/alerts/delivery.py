"""The edge of the direct sinks: a message, sent to where it goes. Which sink, when and by whom is decided in
`demesh.alerts.ladder`."""

from collections.abc import Awaitable, Callable

import trio

from demesh.alerts import apprise_sink, webhook
from demesh.alerts.message import Message
from demesh.alerts.sink import Sink, shown_url
from demesh.curl import CurlEngine, fetch
from demesh.errors import NetworkError
from demesh.limits import HEARTBEAT_SECONDS_MAX

Notify = Callable[[Sink, Message], Awaitable[None]]
"""Send one message. Raises NetworkError, which shows nothing secret, unless it arrived."""

Fetch = Callable[[str], Awaitable[int]]
"""GET a secret URL -> HTTP status. Raises NetworkError, which shows nothing of it but scheme and host."""


def delivery(curl: CurlEngine) -> Notify:
    async def notify(sink: Sink, message: Message) -> None:
        if sink.is_webhook:
            await webhook.post(curl, sink, message)
        else:
            await apprise_sink.send(sink, message)

    return notify


def curl_fetch(curl: CurlEngine) -> Fetch:
    async def get(url: str) -> int:
        return (await fetch(curl, url, timeout_ms=HEARTBEAT_SECONDS_MAX * 1_000, shown=shown_url(url))).status

    return get


async def no_notify(sink: Sink, message: Message) -> None:
    """Where there is no way out."""
    await trio.lowlevel.checkpoint()
    raise NetworkError("there is no way to it from here.")


async def no_fetch(url: str) -> int:
    """Where there is no way out."""
    await trio.lowlevel.checkpoint()
    raise NetworkError("there is no way to it from here.")
