"""What one entry changes in what is known of its log: its hello, its plans, the votes of its checks, a leave it took, what it
decides and warns of. Pure.

An entry of a kind that is not known changes nothing.
"""

from demesh.errors import EntryError
from demesh.log.bye import read_bye
from demesh.log.entry import Entry, Kind
from demesh.log.event import read_event
from demesh.log.hello import read_hello
from demesh.log.results import read_results
from demesh.view.decisions import fold_decision
from demesh.view.member import LogView
from demesh.view.notices import fold_notice
from demesh.view.vote import Observation, VoteState, advance
from demesh.view.warnings import fold_warning

_ANSWERED = VoteState(tries=None)
_PLANS_KEPT = 2  # results may still name the plan before the current one


def fold_entry(view: LogView, entry: Entry) -> None:
    """Take in what an entry says, which follows those that were taken in before. Raises EntryError if its payload is not of its
    kind's shape: then nothing more has changed.
    """
    view.bye = None  # whatever comes after a leave-taking ends it
    plan = view.plan_reader.add(entry.seq, entry.kind, entry.payload)
    if plan is not None:
        view.plans[plan.seq] = plan
        view.planned = entry.boot8, entry.up_ms
        for seq in sorted(view.plans)[:-_PLANS_KEPT]:
            del view.plans[seq]
        forget_old_definitions(view)
    match entry.kind:
        case Kind.HELLO:
            view.hello = read_hello(entry)
        case Kind.RESULTS if entry.seq > view.voted_seq:
            _fold_results(view, entry)
        case Kind.EVENT:
            fold_warning(view.warnings, entry)
            fold_decision(view.decided, entry)
            view.tellings.add(entry, read_event(entry.payload))
        case Kind.NOTICE:
            fold_notice(view.notices, entry)
        case Kind.BYE:
            view.bye = read_bye(entry.payload)
        case _:
            pass


def _fold_results(view: LogView, entry: Entry) -> None:
    results = read_results(entry.payload, entry.up_ms)
    plan = view.plans.get(results.plan_seq)
    if plan is None:
        return  # of a plan that is not held (any more): there is nothing to say what its indexes mean
    for result in results.results:
        if result.check >= len(plan.rows):
            raise EntryError("shape", "the results: an index beyond the plan")
        row = plan.rows[result.check]
        key = (row.name, row.definition)
        seen = Observation(result, entry.boot8, entry.wall_ms - (entry.up_ms - result.up_ms))
        view.votes[key] = advance(
            view.votes.get(key, VoteState()),
            seen,
            interval_ms=row.interval_ms,
            fail_after=row.fail_after,
            recover_after=row.recover_after,
        )


def forget_old_definitions(view: LogView) -> None:
    """Drop the votes of checks that no kept plan names any more, and of those that the newest says are not run any more: but for
    those that are parked, of which it is known how often they were tried, and that others have answered once.
    """
    kept = {(row.name, row.definition) for plan in view.plans.values() for row in plan.rows}
    for key in view.votes.keys() - kept:
        del view.votes[key]
    for row in view.plan.rows if view.plan is not None else ():
        key = row.name, row.definition
        if row.runs or row.parked or key not in view.votes:
            continue
        if row.listed and view.votes[key].tries is None:
            view.votes[key] = _ANSWERED
        else:
            del view.votes[key]
