"""Whether this node could hear the others all the time, and when it has to begin anew. Pure; times are in milliseconds.

slept, was stopped, or heard nobody    listens anew: nobody is accused of what was missed
for 5 s, and could hear before
still cannot hear                      listens anew at every look, but its word to sinks is held back no longer: what it sees
                                       by itself is all there is
hears again                            listens anew, and its word waits once more: others may have told meanwhile
"""

from dataclasses import dataclass

_STALL_MS = 5_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What one look found. `missed_ms`: for how long this process did not run, if long. `anew_since_ms`: until when it could hear
    the others, if it listens anew now. `waits`: whether others may have told sinks what it does not know of.
    """

    missed_ms: int | None = None
    anew_since_ms: int | None = None
    waits: bool = False


class Listening:
    """`now_ms` is monotonic; `slept_ms` is for how long the machine has slept since it booted."""

    def __init__(self, now_ms: int, slept_ms: int) -> None:
        self._looked_ms = self._heard_ms = now_ms
        self._slept_ms = slept_ms
        self._deaf = False

    def look(self, now_ms: int, slept_ms: int, *, hears: bool) -> Heard:
        """`hears`: whether others could be heard now."""
        slept = slept_ms - self._slept_ms
        missed_ms = now_ms - self._looked_ms + slept
        heard_ms, deaf = self._heard_ms, self._deaf
        anew = slept > _STALL_MS or now_ms - heard_ms > _STALL_MS
        self._looked_ms, self._slept_ms = now_ms, slept_ms
        if hears:
            self._heard_ms = now_ms
        self._deaf = not hears and (anew or deaf)
        return Heard(
            missed_ms if missed_ms > _STALL_MS else None,
            heard_ms if anew else None,
            waits=hears if deaf else anew,
        )
