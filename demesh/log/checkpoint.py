"""The payload `checkpoint`: a day in sums, and what the author knew of everybody's logs when it wrote it.

    [part, parts, day, previous, rows, vector]
    previous = [log16, seq, hash32] of the author's checkpoint before, `[]` if there is none     vector row = [log16, seq, hash16]

The rows are sums over one day (days since 1970, UTC, by the author's wall clock) and over all logs of the author's key: one
day's results may lie in several epochs. What is below a checkpoint can be forgotten without forgetting what it amounted to.

The vector names the head of each log the author held, with the first 16 bytes of its hash: a witness that makes it hard to
tell another history later. A checkpoint is spread over `parts` entries that follow each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from demesh import limits
from demesh.log.codec import Fields, Value, encode, values
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.sums import CONTENT_BYTES_MAX, DAY_MS, Sums, read_rows

_DAYS_MAX = limits.TIME_MS_MAX // DAY_MS


@dataclass(frozen=True, slots=True)
class Witness:
    """That the author held `log` up to `seq`, whose hash begins with `hash16`."""

    log: bytes
    seq: int
    hash16: bytes


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    part: int
    parts: int
    day: int
    previous: tuple[bytes, Head] | None = None
    rows: Mapping[str, Sums] = field(default_factory=dict[str, Sums])
    vector: tuple[Witness, ...] = ()


def checkpoint_payloads(
    day: int, previous: tuple[bytes, Head] | None, sums: Mapping[str, Sums], held: Iterable[LogState]
) -> list[Value]:
    """The payloads of a checkpoint's parts, in order."""
    rows: list[Value] = [[name, *each.columns()] for name, each in sorted(sums.items())]
    vector: list[Value] = [
        [state.log, state.head.seq, state.head.hash[:16]] for state in sorted(held, key=lambda each: each.log)
    ]
    shares: list[tuple[list[Value], list[Value]]] = [([], [])]
    room = CONTENT_BYTES_MAX
    for kind, item in [*((0, row) for row in rows), *((1, witness) for witness in vector)]:
        size = len(encode(item))
        if size > room:
            shares.append(([], []))
            room = CONTENT_BYTES_MAX
        shares[-1][kind].append(item)
        room -= size
    link: list[Value] = [previous[0], previous[1].seq, previous[1].hash] if previous else []
    return [[part, len(shares), day, link, values(share), values(seen)] for part, (share, seen) in enumerate(shares)]


def read_checkpoint_part(payload: Value) -> CheckpointPart:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the checkpoint")
    part = fields.uint("part", limits.PLAN_PARTS_MAX - 1)
    parts = fields.uint("number of parts", limits.PLAN_PARTS_MAX, part + 1)
    day = fields.uint("day", _DAYS_MAX)
    previous = fields.array("previous checkpoint", 16)
    rows = read_rows(fields.array("rows", limits.CHECKS_MAX))
    vector = fields.array("vector", limits.SYNC_VECTOR_ROWS_MAX)
    return CheckpointPart(part, parts, day, _read_previous(previous), rows, tuple(map(_read_witness, vector)))


def _read_previous(value: Sequence[Value]) -> tuple[bytes, Head] | None:
    if not value:
        return None
    fields = Fields(values(value), "the previous checkpoint")
    log = fields.octets("log id", 16)
    return log, Head(fields.uint("sequence number", limits.SEQ_MAX), fields.octets("hash", 32))


def _read_witness(value: Value) -> Witness:
    fields = Fields(value, "a row of the vector")
    return Witness(
        fields.octets("log id", 16), fields.uint("sequence number", limits.SEQ_MAX), fields.octets("hash", 16)
    )
