"""A trace in words: what each step says, and which rule it came to."""

from collections.abc import Mapping

from demesh.config.duration import format_duration
from demesh.identity import peer_id
from demesh.log.dates import iso_ms
from demesh.log.event import Event
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY, PlanRow
from demesh.outcome import Outcome
from demesh.view.presence import Presence
from demesh.view.story import (
    Began,
    Fact,
    Greeted,
    Heard,
    Lapsed,
    Missing,
    Moved,
    Planned,
    Ran,
    Repeated,
    Said,
    Stood,
    Told,
)
from demesh.view.verdict import Tally, Verdict
from demesh.view.vote import Vote, fresh_ms

_WHAT: Mapping[type[Said], str] = {
    Began: "began",
    Ran: "result",
    Moved: "address",
    Repeated: "repeated",
    Lapsed: "lapsed",
    Missing: "missing",
    Planned: "plan",
    Heard: "heard",
    Greeted: "hello",
    Told: "event",
}
_MANY = {"pass": "passes", "fail": "fails", "mismatch": "mismatches", "timeout": "timeouts", "error": "errors"}


def what(fact: Fact) -> str:
    """One word for what kind of step this is."""
    return str(fact.said.presence) if isinstance(fact.said, Stood) else _WHAT[type(fact.said)]


def words(fact: Fact) -> str:
    """What a step says, without who and when."""
    match fact.said:
        case Began(of_log=of_log):
            return "begins a log" if of_log else "goes on in another log"
        case Ran() as ran:
            return _of_result(ran)
        case Moved(change=change) if change.rotates:
            return (
                f"the name leads to another address with almost every look, to {change.address} now; "
                "that is told no more until it stays the same"
            )
        case Moved(change=change):
            return f"the name leads to {change.address} now, to {change.before} before"
        case Repeated(counts=counts):
            return ", ".join(f"{number} {name if number == 1 else _MANY.get(name, name)}" for name, number in counts)
        case Lapsed(row=row, rebooted=rebooted):
            rule = "another boot" if rebooted else f"nothing newer within {format_duration(fresh_ms(row.interval_ms))}"
            return f"its vote lapsed: {rule}" + ("" if rebooted else " (2 intervals + 30s)")
        case Missing(first_seq=first_seq):
            number = fact.seq - first_seq + 1
            return f"{'1 entry is' if number == 1 else f'{number} entries are'} not held here; what was told there is not known"
        case Planned() as planned:
            return _of_plan(planned)
        case Stood() as stood:
            return _of_absence(stood)
        case Heard(before=before, quiet_ms=quiet_ms, rebooted=rebooted):
            boot = " after a reboot of its machine" if rebooted else ", same boot of its machine"
            if before == Presence.ALIVE:
                return f"goes on{boot}; {format_duration(quiet_ms)} without an entry"
            return f"writes again{boot}: nothing was written for {format_duration(quiet_ms)}"
        case Greeted(hello=hello, before=known):
            return f"is called {hello.name}, version {hello.version}" + (
                "" if known is None else f" (was {known.name}, {known.version})" if known.name != hello.name else ""
            )
        case Told(event=event):
            return of_event(event)


def rule(tally: Tally, row: PlanRow | None) -> str:
    """The rule from votes to verdict in numbers: `2 of 3 fail >= quorum 2 (majority)`."""
    counted = tally.passes + tally.fails + tally.unseen
    if row is None:
        return "no plan has the check"
    if counted == 0:
        return "no vantage counts"
    kind = {QUORUM_MAJORITY: " (majority)", QUORUM_ALL: " (all)"}.get(row.quorum, "")
    quorum = f"quorum {tally.quorum}{kind}"
    match tally.verdict:
        case Verdict.DOWN:
            return f"{_share(tally.fails, counted, 'fail')} >= {quorum}"
        case Verdict.PARTIAL:
            return f"{_share(tally.fails, counted, 'fail')} < {quorum}"
        case Verdict.UP if tally.unseen == 0:
            return f"{tally.passes} of {counted} pass"
        case Verdict.UP:
            return f"{tally.passes} of {counted} pass, {tally.unseen} unseen < {quorum}"
        case _:
            return f"{tally.unseen} of {counted} unseen >= {quorum}"


def of_event(event: Event) -> str:
    """As `demesh log tail` tells it."""
    said = " ".join(f"{key}={value}" for key, value in sorted(event.details.items()) if key != "text")
    text = event.details.get("text", "")
    return " ".join(filter(None, (event.type, event.subject, said))) + (f": {text}" if text else "")


def of_telling(event: Event) -> str:
    """Of a `notified` event: `ops of DemeshCheckDown (firing)`."""
    name, state = event.details.get("name", ""), event.details.get("state", "")
    return event.details.get("sink", "a sink") + (f" of {name}" if name else "") + (f" ({state})" if state else "")


def _share(number: int, counted: int, verb: str) -> str:
    return f"{number} of {counted} {verb}{'s' if number == 1 else ''}"


def _of_result(ran: Ran) -> str:
    result, before, after = ran.result, ran.before, ran.after
    said = result.outcome.name.lower() + (f": {result.detail}" if result.detail else "")
    if result.outcome == Outcome.ERROR:
        return f"{said} (it could not run the probe; counts for nothing)"
    blames = result.outcome.blames_target
    if after.vote != before.vote:
        run = f", {after.run_length} in a row" if after.run_length > 1 else ""
        return f"{said}{run}: votes {after.vote}"
    if blames and after.vote != Vote.FAIL:
        return f"{said}, {after.run_length} of {ran.row.fail_after}"
    if not blames and after.vote == Vote.FAIL:
        return f"{said}, {after.run_length} of {ran.row.recover_after} to recover"
    if not blames and before.run_blames:
        many = f"{before.run_length} {'failure' if before.run_length == 1 else 'failures'}"
        return f"{said}; {many} did not make a vote (fail_after {ran.row.fail_after})"
    return said


def _of_plan(planned: Planned) -> str:
    row, before = planned.row, planned.before
    if planned.added or planned.removed:
        added = [f"+{name}" for name in planned.added]
        return "its plan: " + " ".join([*added, *(f"-{name}" for name in planned.removed)])
    if row is None:
        return "its plan has the check no more"
    if before is None:
        return "its plan has the check, which it " + ("runs" if row.runs else "does not run itself")
    if row.definition != before.definition:
        return f"its plan defines the check anew ({row.definition.hex()[:8]}, was {before.definition.hex()[:8]})"
    if row.parked and not before.parked:
        return "parks the check, which never answered: it is tried once a day"
    if row.runs != before.runs:
        return "runs the check now" if row.runs else "runs the check no more"
    return "its plan says something else of the check"


def _of_absence(stood: Stood) -> str:
    promise = f"its last entry promised the next within {format_duration(stood.next_ms)}"
    if stood.bye is None:
        return f"went silent: {promise}" if stood.presence == Presence.SILENT else f"is away, as it roams: {promise}"
    back = format_duration(stood.bye.back_by_ms)
    if stood.presence == Presence.SILENT:
        return f"is silent: it was to be back within {back} of its bye ({stood.bye.reason})"
    return f"said bye ({stood.bye.reason})" + ("" if stood.bye.reason == "left" else f", back within {back}")


def when(wall_ms: int) -> str:
    return iso_ms(wall_ms) or "a time that no calendar has"


def author(public_key: bytes, names: Mapping[bytes, str]) -> str:
    return names.get(public_key) or peer_id(public_key)
