"""What signals do to a node, and to one that waits to learn of which mesh it is.

Guarantees: SIGHUP never ends it; SIGTERM and SIGINT end it in good order from the moment on when it has something to say, before
that at once. It is ended without a farewell only by who asks again after a while: what asks twice in one moment, as a
supervisor in the terminal that took the Ctrl-C does, has asked once.
"""

import os
import signal
from contextlib import suppress

import trio

from demesh import limits

_END = (signal.SIGTERM, signal.SIGINT)


def _after_all(*_: object) -> None:
    """The farewell is out, and the log durable; only the files are being closed."""
    os._exit(0)


def heed_no_more() -> None:
    """All is done. The interpreter, which ends now, would give these signals their default meaning."""
    for each in _END:
        signal.signal(each, signal.SIG_IGN)


async def end_when_asked() -> None:
    """End the process on SIGTERM and SIGINT, for as long as nothing has been written or said."""
    with trio.open_signal_receiver(*_END, signal.SIGHUP) as signals:
        async for received in signals:
            if received != signal.SIGHUP:
                os._exit(0)


async def obey(ask_reload: trio.MemorySendChannel[None], stop: trio.Event) -> None:
    """Pass on what signals ask of a node, which may have begun to stop for other reasons."""
    asked_s: float | None = None
    before = {each: signal.signal(each, _after_all) for each in _END}  # which is put back when this is over
    try:
        with trio.open_signal_receiver(*_END, signal.SIGHUP) as signals:
            async for received in signals:
                if received == signal.SIGHUP:
                    with suppress(trio.WouldBlock):  # one is asked for that has not begun
                        ask_reload.send_nowait(None)
                elif asked_s is None:
                    asked_s = trio.current_time()
                    stop.set()
                elif trio.current_time() - asked_s >= limits.END_AGAIN_SECONDS_MIN:
                    os._exit(130)  # the log is durable as it is, only the farewell is lost
    finally:
        if not stop.is_set():  # it fails, and that is what its exit code has to say
            for each, handler in before.items():
                signal.signal(each, handler)
