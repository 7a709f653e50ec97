"""What is kept of results once they themselves are forgotten: sums over an hour or a day, one row a check.

    row = [name, [pass, fail, mismatch, timeout, error], up_ms, down_ms, [latency_sum, latency_min, latency_max], histogram]

The counts are of results. `up_ms` and `down_ms` are time: each result speaks for the time since the one before it of the same
check, and what no result speaks for is in neither, so the unobserved time of an hour is 3,600,000 − up_ms − down_ms. A result
of outcome `error` speaks for nothing. Latencies are in units of 100 µs over the results that have one, `[]` if none has. The
histogram is bucket and count in turn, by rising bucket: eight buckets to each power of two of the latency, so a quantile read
from it is off by less than 1/8.

Sums are additive: the sum of two rows is the row of both times' results. Only integers, so equal results give equal bytes.
"""

from collections.abc import Iterable, Mapping, Sequence

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, encode, values
from demesh.outcome import Outcome

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LATENCY_UNIT_US = 100
_STEPS_BITS = 3
_BUCKETS_MAX = (1 << _STEPS_BITS) * 32
_OUTCOMES = len(Outcome)
_COUNT_MAX = 2**32 - 1
CONTENT_BYTES_MAX = limits.ENTRY_BYTES_MAX - 1_024
"""What one entry holds of rows, with room for the rest of it."""


class Sums:
    """The sums of one check over one period. Mutable; compares by value."""

    __slots__ = ("counts", "down_ms", "histogram", "latency_max", "latency_min", "latency_sum", "up_ms")

    def __init__(self) -> None:
        self.counts = [0] * _OUTCOMES
        self.up_ms = 0
        self.down_ms = 0
        self.latency_sum = 0
        self.latency_min = 0
        self.latency_max = 0
        self.histogram: dict[int, int] = {}

    def count(self, outcome: Outcome, latency_us: int | None) -> None:
        """One more result."""
        self.counts[outcome] += 1
        if latency_us is not None:
            latency = max(1, latency_us // LATENCY_UNIT_US)
            self.latency_min = min(self.latency_min, latency) if self.histogram else latency
            self.latency_max = max(self.latency_max, latency)
            self.latency_sum += latency
            bucket = bucket_of(latency)
            self.histogram[bucket] = self.histogram.get(bucket, 0) + 1

    @property
    def passed(self) -> int:
        return self.counts[Outcome.PASS]

    @property
    def failed(self) -> int:
        """The results that blame the target."""
        return sum(number for outcome, number in zip(Outcome, self.counts, strict=True) if outcome.blames_target)

    def add(self, other: "Sums") -> None:
        for outcome, number in enumerate(other.counts):
            self.counts[outcome] += number
        self.up_ms += other.up_ms
        self.down_ms += other.down_ms
        if other.histogram:
            self.latency_min = min(self.latency_min, other.latency_min) if self.histogram else other.latency_min
            self.latency_max = max(self.latency_max, other.latency_max)
            self.latency_sum += other.latency_sum
            for bucket, number in other.histogram.items():
                self.histogram[bucket] = self.histogram.get(bucket, 0) + number

    def columns(self) -> list[Value]:
        """The row without its name."""
        latency: list[Value] = [self.latency_sum, self.latency_min, self.latency_max] if self.histogram else []
        histogram: list[Value] = [number for item in sorted(self.histogram.items()) for number in item]
        return [values(self.counts), self.up_ms, self.down_ms, latency, histogram]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and self.columns() == other.columns()

    __hash__ = None  # pyright: ignore[reportAssignmentType] mutable

    def __repr__(self) -> str:
        return f"Sums{self.columns()}"


def read_sums(value: Value) -> Sums:
    """The sums in `columns()`. Raises EntryError("shape")."""
    return _read_columns(Fields(value, "the sums"))


def read_row(value: Value) -> tuple[str, Sums]:
    """A check's name and its sums. Raises EntryError("shape")."""
    fields = Fields(value, "a row of sums")
    return fields.text("name", limits.NAME_CHARS_MAX, 1), _read_columns(fields)


def split_rows(sums: Mapping[str, Sums]) -> list[list[Value]]:
    """The rows of `sums` by name, in groups that each fit an entry; nothing for no sums."""
    groups: list[list[Value]] = []
    size = CONTENT_BYTES_MAX
    for name, each in sorted(sums.items()):
        row: list[Value] = [name, *each.columns()]
        row_size = len(encode(row))
        if size + row_size > CONTENT_BYTES_MAX:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += row_size
    return groups


def bucket_of(latency: int) -> int:
    """The bucket of a latency of at least 1, in any unit."""
    exponent = latency.bit_length() - 1
    return (exponent << _STEPS_BITS) + (((latency << _STEPS_BITS) >> exponent) & ((1 << _STEPS_BITS) - 1))


def bucket_start(bucket: int) -> float:
    """The least latency of a bucket."""
    exponent, step = divmod(bucket, 1 << _STEPS_BITS)
    return (1 << exponent) * (1 + step / (1 << _STEPS_BITS))


def quantile(histogram: Mapping[int, int], fraction: float) -> float | None:
    """The latency below which `fraction` of the results lie, spread evenly within its bucket; None without results."""
    left = fraction * sum(histogram.values())
    for bucket, number in sorted(histogram.items()):
        if left <= number:
            start, end = bucket_start(bucket), bucket_start(bucket + 1)
            return start + (end - start) * left / number
        left -= number
    return None


def _read_columns(fields: Fields) -> Sums:
    sums = Sums()
    counts = fields.uints("counts", 16, _COUNT_MAX)
    if len(counts) < _OUTCOMES:
        raise EntryError("shape", "a row of sums: too few counts")
    # Outcomes that this version does not know blame nobody.
    sums.counts = [*counts[:_OUTCOMES]]
    sums.counts[Outcome.ERROR] += sum(counts[_OUTCOMES:])
    sums.up_ms = fields.uint("up time", limits.TIME_MS_MAX)
    sums.down_ms = fields.uint("down time", limits.TIME_MS_MAX)
    latency = fields.uints("latencies", 3, 2**53 - 1)
    histogram = fields.uints("histogram", 2 * _BUCKETS_MAX, _COUNT_MAX)
    buckets = histogram[::2]
    if len(latency) != (3 if histogram else 0) or len(histogram) % 2 or not _rise(buckets):
        raise EntryError("shape", "a row of sums: the latencies do not fit each other")
    if histogram:
        sums.latency_sum, sums.latency_min, sums.latency_max = latency
        sums.histogram = dict(zip(buckets, histogram[1::2], strict=True))
    return sums


def _rise(buckets: Iterable[int]) -> bool:
    before = -1
    for bucket in buckets:
        if not before < bucket < _BUCKETS_MAX:
            return False
        before = bucket
    return True


def read_rows(rows: Sequence[Value]) -> dict[str, Sums]:
    """The rows of an entry, by name. Raises EntryError("shape")."""
    read = dict(map(read_row, rows))
    if len(read) < len(rows):
        raise EntryError("shape", "rows of sums: a check occurs twice")
    return read
