"""What a start reads of a log: enough to know its author, its plan and its recent past, whatever the log's length."""

from demesh import limits
from demesh.errors import EntryError
from demesh.log.entry import Entry, Kind
from demesh.log.held import Held
from demesh.log.plan import read_plan_part
from demesh.log.state import LogState
from demesh.log.store import Store


def startup_entries(store: Store, state: LogState, since: int = 0) -> tuple[list[Entry], list[Entry]]:
    """What the newest entries of a log build on (hello, plans, events, notices), and those entries, from `since` on;
    both in order.

    The head is always among them: whether its author has taken leave, and when it was to be heard of again, is told
    there.
    """
    first = max(state.pruned_to, state.head.seq + 1 - limits.STARTUP_TAIL_ENTRIES_MAX, min(since, state.head.seq))
    tail = store.read_on(state.log, first, bytes_max=2**62)
    before = store.newest(state.log, Kind.HELLO, before=first)
    before += store.newest(state.log, Kind.EVENT, before=first, count=limits.EVENTS_AT_START_MAX)
    before += store.newest(state.log, Kind.NOTICE, before=first, count=limits.NOTICES_AT_START_MAX)
    for entry in _newest_plans(store, state.log, first):
        before.extend(_whole_plan(store, entry))
    return sorted(before, key=lambda entry: entry.seq), tail


def history_context(store: Held, log: bytes, before: int) -> list[Entry]:
    """What folding a log's history from entry `before` on builds on: the plans that are still in use, the last checkpoint."""
    found = store.newest(log, Kind.CHECKPOINT, before=before)
    for entry in _newest_plans(store, log, before):
        found.extend(_whole_plan(store, entry))
    return sorted(found, key=lambda entry: entry.seq)


def context(store: Held, log: bytes, before: int) -> list[Entry]:
    """What reading a log from entry `before` on builds on: the newest hello, and the plans that are still in use; in order."""
    found = store.newest(log, Kind.HELLO, before=before)
    for entry in _newest_plans(store, log, before):
        found.extend(_whole_plan(store, entry))
    return sorted(found, key=lambda entry: entry.seq)


def whole_plan(store: Held, log: bytes, first: int) -> list[Entry]:
    """The entries of the plan that begins at `first`, as far as they are held."""
    return [part for entry in store.read(log, first, first)[0] for part in _whole_plan(store, entry)]


def _newest_plans(store: Held, log: bytes, before: int) -> list[Entry]:
    """The last entries of the two newest plans (results may still name the one before the newest)."""
    newest = store.newest(log, Kind.PLAN, before=before)
    if not newest:
        return []
    whole = _whole_plan(store, newest[0])
    return [*store.newest(log, Kind.PLAN, before=whole[0].seq if whole else 0), *newest]


def _whole_plan(store: Held, part: Entry) -> list[Entry]:
    """All parts of the plan that `part` belongs to."""
    try:
        read = read_plan_part(part.payload)
    except EntryError:
        return []
    first = part.seq - read.part
    return store.read(part.log, first, first + read.parts - 1)[0]
