"""The payload `bye`: the author stops on purpose. `[reason, back_by_ms]`.

`back_by_ms` counts from the entry's own time; until then its silence is *away*, not a fault. With the reason `left` the author
is no member any more, until it writes again.
"""

from dataclasses import dataclass

from demesh import limits
from demesh.log.codec import Fields, Value

LEFT = "left"
"""The reason of an author that does not mean to come back. Who does not know it goes by `back_by_ms`, which is then long."""


@dataclass(frozen=True, slots=True)
class Bye:
    reason: str
    back_by_ms: int = limits.AWAY_MS_DEFAULT

    def payload(self) -> Value:
        return [self.reason, self.back_by_ms]


def read_bye(payload: Value) -> Bye:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the bye")
    return Bye(fields.text("reason", limits.NAME_CHARS_MAX), fields.uint("time of return", limits.TIME_MS_MAX))
