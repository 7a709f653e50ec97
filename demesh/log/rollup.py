"""The payload `rollup`: the sums of one hour, over the results of this very log.

    [hour, rows]                                 hour: hours since 1970 by the author's wall clock; rows: `demesh.log.sums`

It sums all results in the log's earlier entries that are dated in that hour and that no earlier rollup summed; a result is
dated by the author's clocks, as when it ended. So the rows of all rollups of an hour add up, and readers that hold the
results and readers that only hold the rollups know the same.

Rows of one hour may take several entries, each with other checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from demesh import limits
from demesh.log.codec import Fields, Value, values
from demesh.log.sums import HOUR_MS, Sums, read_rows, split_rows

_HOURS_MAX = limits.TIME_MS_MAX // HOUR_MS


@dataclass(frozen=True, slots=True)
class Rollup:
    hour: int
    rows: Mapping[str, Sums]


def rollup_payloads(hour: int, sums: Mapping[str, Sums]) -> list[Value]:
    """The payloads that tell `sums`, as many as it takes."""
    return [[hour, values(rows)] for rows in split_rows(sums)]


def read_rollup(payload: Value) -> Rollup:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the rollup")
    hour = fields.uint("hour", _HOURS_MAX)
    return Rollup(hour, read_rows(fields.array("rows", limits.CHECKS_MAX)))
