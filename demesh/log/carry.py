"""The payload `carry`: the author's sums of whole epochs, which are over and to be forgotten.

    [part, parts, nonces, days, rows]              days: day and number of rows in turn     rows: `demesh.log.sums`

"My sums of these days, over these logs of mine, stand here from now on; forget those logs." A log is named by the nonce of its
epoch: with the author's key that makes its id, so nobody can name a log of anybody else. `days` (since 1970, UTC) tells which of
`rows`, in order, are of which day; rows of one day may stand in several parts, and add up.

A carry takes `parts` entries that follow each other, and counts once all are there. Each repeats what the author's earlier ones
named, the oldest first, so that nothing is lost when the log in which those stand is carried itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, encode, values
from demesh.log.entry import Kind, log_id
from demesh.log.parts import Parts
from demesh.log.sums import CONTENT_BYTES_MAX, DAY_MS, Sums, read_row

_DAYS_MAX = limits.TIME_MS_MAX // DAY_MS
_DAY_BYTES = 10  # of a day and its number of rows


class CarriedRow(NamedTuple):
    """The sums of one check over one day, since 1970."""

    day: int
    name: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class CarryPart:
    part: int
    parts: int
    nonces: tuple[bytes, ...] = ()
    rows: tuple[CarriedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Carry:
    """A whole carry. `nonces` are of the epochs that it names, the oldest first."""

    nonces: tuple[bytes, ...]
    rows: tuple[CarriedRow, ...]

    def logs(self, public_key: bytes, stands_in: bytes) -> list[bytes]:
        """The logs that it carries, if it stands in log `stands_in` of the owner of `public_key`: never that one."""
        named = (log_id(public_key, nonce) for nonce in self.nonces)
        return [log for log in named if log != stands_in]


@dataclass(slots=True)
class _Share:
    nonces: list[Value]
    days: list[tuple[int, int]]
    rows: list[Value]


def carry_payloads(nonces: Iterable[bytes], days: Mapping[int, Mapping[str, Sums]]) -> list[Value]:
    """The payloads of a carry's parts, in order."""
    shares = [_Share([], [], [])]
    room = CONTENT_BYTES_MAX

    def share(size: int) -> _Share:
        nonlocal room
        if size > room:
            shares.append(_Share([], [], []))
            room = CONTENT_BYTES_MAX
        room -= size
        return shares[-1]

    for nonce in nonces:
        share(len(encode(nonce))).nonces.append(nonce)
    for day, rows in sorted(days.items()):
        for name, sums in sorted(rows.items()):
            row: list[Value] = [name, *sums.columns()]
            to = share(len(encode(row)) + _DAY_BYTES)
            to.rows.append(row)
            before = to.days.pop()[1] if to.days and to.days[-1][0] == day else 0
            to.days.append((day, before + 1))
    return [
        [part, len(shares), each.nonces, values([number for pair in each.days for number in pair]), each.rows]
        for part, each in enumerate(shares)
    ]


def row_bytes(name: str, sums: Sums) -> int:
    """What a row takes of a carry, at most."""
    return len(encode([name, *sums.columns()])) + _DAY_BYTES


def read_carry_part(payload: Value) -> CarryPart:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the carry")
    part = fields.uint("part", limits.CARRY_PARTS_MAX - 1)
    parts = fields.uint("number of parts", limits.CARRY_PARTS_MAX, part + 1)
    nonces = Fields(fields.array("nonces", limits.CARRIED_LOGS_MAX), "the nonces").rest_octets("nonce", 8)
    days = fields.uints("days", limits.ENTRY_BYTES_MAX, max(_DAYS_MAX, limits.ENTRY_BYTES_MAX))
    rows = list(map(read_row, fields.array("rows", limits.ENTRY_BYTES_MAX)))
    return CarryPart(part, parts, tuple(nonces), tuple(_dated(days, rows)))


def _dated(days: Sequence[int], rows: Sequence[tuple[str, Sums]]) -> Iterable[CarriedRow]:
    counts = days[1::2]
    if len(days) % 2 or sum(counts) != len(rows):
        raise EntryError("shape", "the carry: the days do not fit the rows")
    dated = [day for day, count in zip(days[::2], counts, strict=True) for _ in range(count)]
    return (CarriedRow(day, *row) for day, row in zip(dated, rows, strict=True))


class CarryReader:
    """Puts the carries of one log together, from its entries in order."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: Parts[CarryPart] = Parts()

    @property
    def waiting(self) -> int:
        """How many parts were read of a carry that is not whole yet."""
        return len(self._parts.gathered)

    def add(self, seq: int, kind: int, payload: Value) -> Carry | None:
        """The carry that this entry completes, if it does. Raises EntryError("shape") for a bad entry of one."""
        if kind != Kind.CARRY:
            self._parts.give_up()
            return None
        try:
            part = read_carry_part(payload)
        except EntryError:
            self._parts.give_up()
            raise
        found = self._parts.add(seq, part.part, part.parts, part)
        if found is None:
            return None
        _, parts = found
        nonces = tuple(nonce for each in parts for nonce in each.nonces)
        if len(nonces) > limits.CARRIED_LOGS_MAX:
            raise EntryError("shape", f"a carry of more than {limits.CARRIED_LOGS_MAX} logs")
        return Carry(nonces, tuple(row for each in parts for row in each.rows))
