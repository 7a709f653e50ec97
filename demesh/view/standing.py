"""How long others were silent and who has left, as bytes: what a restart of this node shall not forget.

    [[public_key32, silent_ms, gone], …]

Only silence that this node itself observed is in it, rounded down to ten minutes, so a restart can make a member leave later than
it would have, never sooner. It is a note in this node's own store, not the wire's; without it the counting begins anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode

NOTE = "standings"
"""What the note in the store is called."""

_STEP_MS = 600_000


@dataclass(frozen=True, slots=True)
class Standing:
    """`silent_ms`: for how long its silence was observed; `gone`: whether it has left by that, or was forgotten."""

    public_key: bytes
    silent_ms: int
    gone: bool


def encode_standings(standings: Iterable[Standing]) -> bytes:
    """The same bytes until something has changed that is worth writing."""
    rows: list[Value] = []
    for each in sorted(standings, key=lambda standing: standing.public_key):
        silent_ms = each.silent_ms - each.silent_ms % _STEP_MS
        if silent_ms or each.gone:
            rows.append([each.public_key, silent_ms, int(each.gone)])
    return encode(rows)


def decode_standings(data: bytes) -> list[Standing]:
    """What can be read of it: a note that is damaged is as good as none."""
    try:
        rows = Fields([decode(data)], "the note").array("standings", limits.TURNED_AWAY_MAX)
        return [_read(Fields(row, "a standing")) for row in rows]
    except EntryError:
        return []


def _read(fields: Fields) -> Standing:
    key, silent_ms = fields.octets("public key", 32), fields.uint("silence", limits.TIME_MS_MAX)
    return Standing(key, silent_ms, bool(fields.uint("gone", 1)))
