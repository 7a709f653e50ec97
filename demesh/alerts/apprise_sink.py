"""Messages through Apprise, the library that speaks for some 130 services. It is imported when a URL for it is first looked at.

Guarantees: it blocks a thread, never the loop, and no more than NOTIFY_THREADS_MAX of these; it is given up after
NOTIFY_SECONDS_MAX. Its own log, which repeats parts of URLs and messages, goes nowhere; of a failure the HTTP status is kept.
Not guaranteed: a message that was given up may still arrive.
"""

import logging
import re
import warnings
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import trio

from demesh import limits
from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.errors import NetworkError

_STATUS = re.compile(r"\berror=([1-5]\d\d)\b")
_statuses: ContextVar[list[str]] = ContextVar("statuses")
_KINDS = {"firing": "failure", "reminder": "warning", "resolved": "success"}


def is_known(url: str) -> bool:
    """Whether Apprise can make something of `url`. Asks nobody."""
    try:
        return _apprise().Apprise().add(url)
    except Exception:  # noqa: BLE001 each of its plug-ins reads URLs in its own way
        return False


async def send(sink: Sink, message: Message) -> None:
    """Send `message`. Raises NetworkError unless the service took it; it shows nothing of the URL."""
    with trio.move_on_after(limits.NOTIFY_SECONDS_MAX):
        problem = await trio.to_thread.run_sync(
            _notify, sink.url, message.title(sink), message.body(sink), _KINDS[message.state],
            abandon_on_cancel=True, limiter=_threads(),
        )  # fmt: skip
        if problem:
            raise NetworkError(problem)
        return
    raise NetworkError(f"it did not take the message within {limits.NOTIFY_SECONDS_MAX} s.")


def _notify(url: str, title: str, body: str, kind: str) -> str:
    """In a thread. Returns a sentence if it did not get through."""
    apprise: Any = _apprise()
    statuses: list[str] = []
    _statuses.set(statuses)
    try:
        service = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
        if not service.add(url):
            return "Apprise knows no such URL."
        type_, format_ = apprise.NotifyType(kind), apprise.NotifyFormat.TEXT
        if service.notify(title=title, body=body, notify_type=type_, body_format=format_):
            return ""
    except Exception as error:  # noqa: BLE001 a plug-in may raise anything, and what it says may hold the URL
        return f"Apprise failed: {type(error).__name__}."
    if statuses:
        return f"the service answered with status {statuses[-1]}."
    return "the service could not be reached, or refused."


class _Listener(logging.Handler):
    """Listens to what Apprise says for the HTTP status with which a service refused; it says it in the context of the send."""

    def emit(self, record: logging.LogRecord) -> None:
        if found := _STATUS.search(record.getMessage()):
            _statuses.get([]).append(found[1])


@cache
def _apprise() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of its plug-ins lean on modules that Python will drop
        apprise: Any = import_module("apprise")
        apprise.Apprise().add("json://localhost")  # loads them all
    for name in ("urllib3", "requests", "requests_oauthlib"):  # they repeat whole URLs
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    log = logging.getLogger("apprise")
    log.propagate = False
    log.addHandler(_Listener())
    log.setLevel(logging.WARNING)
    return apprise


@cache
def _threads() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(limits.NOTIFY_THREADS_MAX)
