"""What a configuration will cost: checks a minute, and bytes a day of this node's log (docs/configuration.md has the formula).

An estimate for quiet days: all results pass. Failures add their details, each start a hello and a plan; on disk, SQLite takes a
little more than the entries have bytes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.checks.check import Check

_DAY_MS = 86_400_000
_ENTRY_BYTES = 165  # one without results
_RESULT_BYTES = 6  # outcome, latency and time, besides the index
_FACTS_BYTES = 27  # the address and the expiry of the certificate, repeated now and then


@dataclass(frozen=True, slots=True)
class Estimate:
    """For the checks that run on this node."""

    checks: int
    checks_per_minute: float
    log_bytes_per_day: int


def estimate(checks: Sequence[Check], flush_interval_ms: int) -> Estimate:
    """Of `checks`, all of which run on this node.

    Checks of one interval run within seconds of each other: whatever fills entries by then is written besides the regular one.
    """
    of_interval = Counter(check.interval_ms for check in checks)
    results = sum(_DAY_MS / each * count for each, count in of_interval.items())
    entries = _DAY_MS / flush_interval_ms
    entries += sum(_DAY_MS / each * (count // limits.RESULTS_PER_FLUSH_MAX) for each, count in of_interval.items())
    facts = sum(_DAY_MS / max(each, limits.CERTIFICATE_EXPIRY_REPEAT_MS) * count for each, count in of_interval.items())
    index_bytes = sum(_uint_bytes(index) for index in range(len(checks))) / max(1, len(checks))
    size = entries * _ENTRY_BYTES + results * (_RESULT_BYTES + index_bytes) + facts * _FACTS_BYTES
    return Estimate(len(checks), results * 60_000 / _DAY_MS, round(size))


def _uint_bytes(value: int) -> int:
    """What an integer below 65,536 takes in CBOR."""
    return 1 if value < 24 else 2 if value < 256 else 3
