"""What a start reads of a log: enough to know its author, its plan and its recent past, whatever the log's length."""

from demesh import limits
from demesh.errors import EntryError
from demesh.log.chain import LogState
from demesh.log.entry import Entry, Kind
from demesh.log.plan import read_plan_part
from demesh.log.store import Store


def startup_entries(store: Store, state: LogState) -> list[Entry]:
    """The newest entries of a log, and in front of them the hello and the plan that they build on, in order."""
    first = max(state.pruned_to, state.head.seq + 1 - limits.STARTUP_TAIL_ENTRIES_MAX)
    tail, _ = store.read(state.log, first, state.head.seq)
    before = store.newest(state.log, Kind.HELLO, before=first)
    for entry in store.newest(state.log, Kind.PLAN, before=first):
        before.extend(_whole_plan(store, entry))
    return sorted(before, key=lambda entry: entry.seq) + tail


def _whole_plan(store: Store, part: Entry) -> list[Entry]:
    """All parts of the plan that `part` belongs to."""
    try:
        read = read_plan_part(part.payload)
    except EntryError:
        return []
    first = part.seq - read.part
    return store.read(part.log, first, first + read.parts - 1)[0]
