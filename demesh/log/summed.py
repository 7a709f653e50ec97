"""From where on the results of a log have to be folded into history: those before are summed in rollups that follow.

A reader who folds every result discards what it made of those that a rollup sums. A newcomer to thirty days of ten logs
would spend a minute and a half of CPU time on that, a restart after the loss of `view.db` the same.

Guaranteed: folding all entries but the results before `unsummed_from` comes to the same as folding all, as long as the
author's clock was not set back by more than an hour.

    ... results of H ... │ P: a rollup, written before H began ... results of H ... R: the newest rollup, of hour H ... head
                         │
           summed by now │ from here on they are folded, or from the entry before that has the last result of a check:
                         │ the next result of that check speaks for the time since.
"""

from demesh.errors import EntryError
from demesh.log.entry import Entry, Kind
from demesh.log.plan import PlanReader, PlanRow
from demesh.log.replay import whole_plan
from demesh.log.results import read_results
from demesh.log.rollup import read_rollup
from demesh.log.store import Store
from demesh.log.sums import HOUR_MS

_ROLLUPS_AT_ONCE = 64


def unsummed_from(store: Store, log: bytes, first: int, *, entries_max: int) -> int:
    """Of a log that is folded up to `first`: the entry from which on results matter; `first` if all do, or if more than
    `entries_max` would have to be read to know. Raises StoreError.
    """
    begin = _summed_to(store, log, first)
    if begin <= first:
        return first
    wanted: set[str] | None = None  # the checks whose last result has not been met; None before any result was
    plans: dict[int, tuple[PlanRow, ...]] = {}
    boot8 = b""
    for count, entry in enumerate(store.results_back(log, begin, first)):
        if count == entries_max:
            return first
        try:
            results = read_results(entry.payload, entry.up_ms)
        except EntryError:
            continue
        if results.plan_seq not in plans:
            plans[results.plan_seq] = _rows(store, log, results.plan_seq)
        rows = plans[results.plan_seq]
        if wanted is None:
            wanted, boot8 = {row.name for row in rows if row.runs}, entry.boot8
        elif entry.boot8 != boot8:
            return begin
        met = wanted.intersection(rows[each.check].name for each in results.results if each.check < len(rows))
        if met:
            wanted -= met
            begin = entry.seq
        if not wanted:
            return begin
    return begin


def _summed_to(store: Store, log: bytes, first: int) -> int:
    """The sequence number of P, or `first`."""
    newest = store.newest(log, Kind.ROLLUP)
    if not newest:
        return first
    before, begins_ms = newest[0].seq, _hour(newest[0]) * HOUR_MS
    while before > first and (rollups := store.newest(log, Kind.ROLLUP, before=before, count=_ROLLUPS_AT_ONCE)):
        for entry in reversed(rollups):
            if entry.wall_ms < begins_ms:
                return max(entry.seq, first)
        before = rollups[0].seq
    return first


def _hour(rollup: Entry) -> int:
    try:
        return read_rollup(rollup.payload).hour
    except EntryError:
        return 0


def _rows(store: Store, log: bytes, plan_seq: int) -> tuple[PlanRow, ...]:
    """Of the plan that begins there; none if it is not held."""
    reader = PlanReader()
    for entry in whole_plan(store, log, plan_seq):
        try:
            if plan := reader.add(entry.seq, entry.kind, entry.payload):
                return plan.rows
        except EntryError:
            break
    return ()
