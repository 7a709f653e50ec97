"""Whether the loops that a node lives by go round: what its watchdog is fed with.

A loop says at each turn by when it turns again, at the latest. It *hangs* if that time has passed by more than PULSE_LATE_MS_MAX,
not counting time in which this node waited for its disk, or if it never turned. Asked of are

- the scheduler of checks (`demesh.checks.runner`), which turns for every check that is due, at least every RUNNER_TURN_MS_MAX;
- the author of the own log (`demesh.author`), which writes an entry at least every heartbeat;
- the intake of others' entries (`demesh.mesh.intake`), which is through with one message before it is late;
- the syncer (`demesh.mesh.syncer`), which looks at least every other SYNC_INTERVAL_SECONDS whom to pull from;
- the network's supervisor (`demesh.mesh.supervisor`).

A hang is

- the event loop standing still, since whoever asks stands still with it (so ask from within it, never from a thread);
- a loop whose task has ended, or waits for something else than it said.

No hang is

- what takes as long as it was said to: no check is due, no message comes, the network is built anew in a minute;
- failing, however often: a network that dies and is built anew for days, a check that hangs until its deadline. The line is
  between an attempt that ends, with whatever, and one that neither ends nor is given up;
- a disk that does not answer: a restart would not mend it, and would wait for it, too.

Not seen: a task beside these that hangs by itself. Pure: milliseconds of the monotonic clock come in, and that stands still
while the machine sleeps.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from demesh import limits

SCHEDULER = "the scheduler of checks"
AUTHOR = "the author of the log"
INTAKE = "the intake of entries"
SYNCER = "the syncer"
NETWORK = "the supervisor of the network"
LOOPS = (SCHEDULER, AUTHOR, INTAKE, SYNCER, NETWORK)

NEVER_MS = limits.TIME_MS_MAX
"""When a loop turns again that waits for something which may never come."""

Turned = Callable[[int], None]
"""A loop has turned, and turns again by then (monotonic milliseconds) at the latest."""

Waiting = Callable[[], AbstractContextManager[None]]
"""Wraps a wait for the disk."""


class Pulse:
    def __init__(self) -> None:
        self._turns: dict[str, tuple[int, int]] = {}
        """By loop: when it turns again, and for how long the disk had been waited for by its last turn."""
        self._waits = 0
        self._waits_since_ms = 0
        self._waited_ms = 0
        """Of waits that are over. Several at once count as one."""

    def of(self, loop: str) -> Turned:
        """What one of LOOPS calls at each turn."""
        return partial(self._turned, loop)

    def disk(self, now: Callable[[], int]) -> Waiting:
        """What wraps each wait for the disk; `now` tells monotonic milliseconds."""
        return partial(self._waiting, now)

    def hanging(self, now_ms: int) -> list[str]:
        """Those of LOOPS that hang."""
        return [loop for loop in LOOPS if self._hangs(loop, now_ms)]

    def _turned(self, loop: str, again_by_ms: int) -> None:
        self._turns[loop] = again_by_ms, self._waited_ms

    def _hangs(self, loop: str, now_ms: int) -> bool:
        if loop not in self._turns:
            return True
        again_by_ms, waited_before_ms = self._turns[loop]
        waits_ms = now_ms - self._waits_since_ms if self._waits else 0
        waited_ms = self._waited_ms + waits_ms - waited_before_ms
        return now_ms - again_by_ms - waited_ms > limits.PULSE_LATE_MS_MAX

    @contextmanager
    def _waiting(self, now: Callable[[], int]) -> Generator[None]:
        if not self._waits:
            self._waits_since_ms = now()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._waited_ms += now() - self._waits_since_ms
