"""Whether the loops that a node lives by go round: what its watchdog is fed with.

A loop says at each turn by when it turns again, at the latest. It *hangs* if that time has passed by more than PULSE_LATE_MS_MAX,
or if it never turned. Two loops are asked of: the scheduler (`demesh.checks.runner`), which turns for every check that is due and
every RUNNER_TURN_MS_MAX in any case, and the network's supervisor (`demesh.mesh.supervisor`).

A hang is

- the event loop standing still, since whoever asks stands still with it (so ask from within it, never from a thread);
- a loop whose task has ended, or waits for something else than it said.

No hang is

- what takes as long as it was said to: no check is due, the network is built anew in a minute;
- failing, however often: a network that dies and is built anew for days, a check that hangs until its deadline. The line is
  between an attempt that ends, with whatever, and one that neither ends nor is given up.

Not seen: a task beside these two that hangs by itself. Pure: milliseconds of the monotonic clock come in, and that stands still
while the machine sleeps.
"""

from collections.abc import Callable
from functools import partial

from demesh import limits

SCHEDULER = "the scheduler of checks"
NETWORK = "the supervisor of the network"
LOOPS = (SCHEDULER, NETWORK)

Turned = Callable[[int], None]
"""A loop has turned, and turns again by then (monotonic milliseconds) at the latest."""


class Pulse:
    def __init__(self) -> None:
        self._again_by_ms: dict[str, int] = {}

    def of(self, loop: str) -> Turned:
        """What one of LOOPS calls at each turn."""
        return partial(self._again_by_ms.__setitem__, loop)

    def hanging(self, now_ms: int) -> list[str]:
        """Those of LOOPS that hang."""
        return [loop for loop in LOOPS if self._hangs(loop, now_ms)]

    def _hangs(self, loop: str, now_ms: int) -> bool:
        by_ms = self._again_by_ms.get(loop)
        return by_ms is None or now_ms - by_ms > limits.PULSE_LATE_MS_MAX
