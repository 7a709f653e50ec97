"""`demesh status --watch`: asks every few seconds and draws what it hears, until the person has seen enough.

A node that does not answer is asked again and again; meanwhile the screen shows what was known, and since when it is not new.
Pure but for what it is given: who asks, who draws, who waits.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

from demesh.cli.status_screen import Asked
from demesh.errors import DemeshError, NodeNotRunning

Json = dict[str, Any]
Draw = Callable[[Json | None, Asked], None]
"""Draws the last answer, if there was one, and how it came."""


class Woken(Enum):
    """Why a wait was over."""

    TIME = "the time has come"
    LOOK = "the screen is another one"
    QUIT = "the person has seen enough"


def keep_watching(
    ask: Callable[[], Json], draw: Draw, wait: Callable[[float], Woken], monotonic_ms: Callable[[], int], period_ms: int
) -> None:
    """Ask and draw every `period_ms`, and draw whenever the screen changed. `wait` takes seconds.

    Raises UsageError if what is asked for is refused from the first.
    """
    answer: Json | None = None
    problem = ""
    began_ms = answered_ms = due_ms = monotonic_ms()
    while True:
        if monotonic_ms() >= due_ms:
            try:
                answer, problem = ask(), ""
                answered_ms = monotonic_ms()
            except DemeshError as error:
                if answer is None and not isinstance(error, NodeNotRunning):
                    raise
                problem = str(error)
            due_ms = max(due_ms + period_ms, monotonic_ms())
        now_ms = monotonic_ms()
        draw(answer, Asked(now_ms - (began_ms if answer is None else answered_ms), problem))
        if wait(max(0, due_ms - now_ms) / 1_000) == Woken.QUIT:
            return
