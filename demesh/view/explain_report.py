"""A trace in the shape that others build on: `demesh explain --json` and `GET /api/v1/explain`. Pure.

Times are ISO 8601 in UTC, to the millisecond, by the authors' clocks; nothing here is of the node that was asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from demesh import limits
from demesh.config.duration import format_duration
from demesh.identity import peer_id
from demesh.log.dates import iso_ms
from demesh.view.concern import WITNESSED
from demesh.view.explain import Ballot, Spell, Standing, Step, Trace, told
from demesh.view.explain_node import NodeStep, NodeTrace
from demesh.view.explain_words import author, of_telling, rule, what, when, words
from demesh.view.presence import Presence
from demesh.view.story import Fact, Heard, Missing, Moved, Ran, Repeated, Stood, Told
from demesh.view.verdict import Verdict

Json = dict[str, Any]
Names = Mapping[bytes, str]
_SAID_MAX = 3


def check_told(check: str, trace: Trace, names: Names) -> Json:
    steps = [_step(each, names) for each in trace.steps]
    spells = [_spell(each, trace, names) for each in trace.spells if each.verdict in (Verdict.DOWN, Verdict.PARTIAL)]
    return {
        "opening": _standing(trace.opening, names),
        **_newest(steps),
        "spells": spells,
        "closing": _standing(trace.closing, names),
        "conclusion": _check_sentence(check, trace, names),
    }


def node_told(node: str, public_key: bytes, trace: NodeTrace, names: Names) -> Json:
    steps = [_node_step(each, names) for each in trace.steps]
    return {
        "peer_id": peer_id(public_key),
        "opening": str(trace.opening) if trace.opening else None,
        **_newest(steps),
        "closing": str(trace.closing) if trace.closing else None,
        "conclusion": _node_sentence(node, trace, names),
    }


def _newest(steps: Sequence[Json]) -> Json:
    left_off = max(0, len(steps) - limits.EXPLAIN_STEPS_MAX)
    return {"steps_left_off": left_off, "steps": list(steps[left_off:])}


def _step(step: Step, names: Names) -> Json:
    said = _fact(step.fact, names)
    if not step.counted:
        said["text"] += " (not counted: most hold another definition)"
    now = step.now
    if now is not None:
        said["leads_to"] = {
            "verdict": str(now.verdict),
            "before": str(step.before) if step.before is not None else str(now.verdict),
            "rule": rule(now.tally, now.row),
            **_tally(now),
        }
    return said


def _node_step(step: NodeStep, names: Names) -> Json:
    said = _fact(step.fact, names)
    if step.presence is not None:
        said["presence"] = str(step.presence)
    if step.was_writing is not None:
        said["was_writing"] = step.was_writing
        said["text"] += (
            "; it was writing at that time: whoever missed it was cut off from it"
            if step.was_writing
            else "; it wrote nothing at that time"
        )
    return said


def _fact(fact: Fact, names: Names) -> Json:
    said: Json = {
        "at": iso_ms(fact.wall_ms),
        "node": author(fact.public_key, names),
        "log": fact.log.hex(),
        "seq": fact.seq,
        "what": what(fact),
        "text": words(fact),
    }
    match fact.said:
        case Ran() as ran:
            said |= {
                "outcome": ran.result.outcome.name.lower(),
                "detail": ran.result.detail,
                "run": ran.after.run_length,
                "vote": str(ran.after.vote),
            }
        case Moved(change=change):
            said |= {"address": change.address, "address_before": change.before, "rotates": change.rotates}
        case Repeated() as repeated:
            said |= {"first_seq": repeated.first_seq, "counts": dict(repeated.counts)}
        case Missing(first_seq):
            said |= {"first_seq": first_seq}
        case Stood() as stood:
            said |= {"promise_ms": stood.next_ms}
        case Heard() as heard:
            said |= {"quiet_ms": heard.quiet_ms, "rebooted": heard.rebooted}
        case Told(event):
            said |= {"type": event.type, "subject": event.subject, "details": dict(sorted(event.details.items()))}
        case _:
            pass
    return said


def _standing(standing: Standing, names: Names) -> Json:
    return {
        "verdict": str(standing.verdict),
        "rule": rule(standing.tally, standing.row),
        **_tally(standing),
        "definition": standing.row.definition.hex() if standing.row else None,
        "vantages": [_ballot(each, names) for each in standing.ballots],
    }


def _tally(standing: Standing) -> Json:
    tally = standing.tally
    return {"passes": tally.passes, "fails": tally.fails, "unseen": tally.unseen, "quorum": tally.quorum}


def _ballot(ballot: Ballot, names: Names) -> Json:
    ran = ballot.because.said if ballot.because is not None else None
    return {
        "node": author(ballot.public_key, names),
        "vote": str(ballot.vote),
        "excluded": ballot.excluded or None,
        "since": iso_ms(ran.since_ms) if isinstance(ran, Ran) and ran.after.since is not None else None,
        "outcome": ran.result.outcome.name.lower() if isinstance(ran, Ran) else None,
        "detail": ran.result.detail if isinstance(ran, Ran) else "",
        "seq": ballot.because.seq if ballot.because is not None else None,
    }


def _spell(spell: Spell, trace: Trace, names: Names) -> Json:
    return {
        "verdict": str(spell.verdict),
        "onset": iso_ms(spell.onset_ms),
        "from": iso_ms(spell.from_ms),
        "from_known": spell.known,
        "until": iso_ms(spell.until_ms) if spell.until_ms is not None else None,
        "told": [
            {"node": author(fact.public_key, names), "at": iso_ms(fact.wall_ms), "seq": fact.seq, **_telling(fact)}
            for fact in told(trace, spell)
        ],
    }


def _telling(fact: Fact) -> Json:
    if not isinstance(fact.said, Told):
        return {}
    event = fact.said.event
    return {"type": event.type, "sink": event.details.get("sink"), "state": event.details.get("state")}


def _check_sentence(check: str, trace: Trace, names: Names) -> str:
    now = trace.closing
    if now.row is None and not trace.steps:
        return f"No log says anything of {check} in this time."
    current = trace.spells[-1] if trace.spells else None
    said = [f"{check} is {now.verdict}{_since(current)}: {rule(now.tally, now.row)}{_excluded(now, names)}."]
    if now.verdict in (Verdict.DOWN, Verdict.PARTIAL):
        said.append(_agreeing(now, names))
    downs = [each for each in trace.spells if each.verdict == Verdict.DOWN]
    for spell in downs[-_SAID_MAX:]:
        if spell is not current:
            began = when(spell.from_ms) if spell.known else f"{when(spell.from_ms)} or before"
            said.append(f"It was down from {began} to {when(spell.until_ms or spell.from_ms)}.")
        said.append(_who_told(told(trace, spell), names))
    if len(downs) > _SAID_MAX:
        said.append(f"It was down {len(downs) - _SAID_MAX} more times before that; the steps tell of each.")
    if not downs:
        partial = sum(each.verdict == Verdict.PARTIAL for each in trace.spells)
        minority = f"; {partial} {'time' if partial == 1 else 'times'} a minority saw it fail" if partial else ""
        said.append(f"It was not down in this time{minority}.")
    if others := _others_said(trace, names):
        said.append(f"Said of it: {others}.")
    return " ".join(said)


def _others_said(trace: Trace, names: Names) -> str:
    """What people or nodes said besides: silences and such, which may be why nobody was told."""
    found: list[str] = []
    for step in trace.steps:
        if isinstance(step.fact.said, Told) and step.fact.said.event.type not in WITNESSED:
            by = author(step.fact.public_key, names)
            found.append(f"{step.fact.said.event.type} by {by} at {when(step.fact.wall_ms)}")
    return "; ".join(found[-_SAID_MAX:])


def _since(spell: Spell | None) -> str:
    if spell is None:
        return ""
    if not spell.known:
        return f" since {when(spell.from_ms)} or before (look further back with --since)"
    onset = f" (first failure {when(spell.onset_ms)})" if spell.onset_ms < spell.from_ms else ""
    return f" since {when(spell.from_ms)}{onset}"


def _excluded(standing: Standing, names: Names) -> str:
    found = [f"{author(each.public_key, names)} is {each.excluded}" for each in standing.ballots if each.excluded]
    return f"; not counted: {', '.join(sorted(found))}" if found else ""


def _agreeing(standing: Standing, names: Names) -> str:
    """Who says what: `fra and nyc: fail (status is 503); lab: pass`."""
    found: dict[str, list[str]] = {}
    for each in standing.ballots:
        if each.excluded:
            continue
        ran = each.because.said if each.because is not None else None
        detail = f" ({ran.result.detail})" if isinstance(ran, Ran) and each.vote == "fail" and ran.result.detail else ""
        found.setdefault(f"{each.vote}{detail}", []).append(author(each.public_key, names))
    return "; ".join(f"{', '.join(sorted(nodes))}: {vote}" for vote, nodes in sorted(found.items())) + "."


def _who_told(facts: Sequence[Fact], names: Names) -> str:
    notified: list[str] = []
    tried: list[str] = []
    for fact in facts:
        if isinstance(fact.said, Told):
            event = fact.said.event
            line = f"{author(fact.public_key, names)} told {of_telling(event)} at {when(fact.wall_ms)}"
            (notified if event.type == "notified" else tried).append(line)
    if notified:
        return "; ".join(notified[:_SAID_MAX]) + "."
    if tried:
        begun = "1 try was begun" if len(tried) == 1 else f"{len(tried)} tries were begun"
        return f"Nobody is known to have been told: {begun}, and none is noted as done."
    return "Nobody was told, as far as the logs say: none has a `notified` of it."


def _node_sentence(node: str, trace: NodeTrace, names: Names) -> str:
    last = trace.last
    if trace.closing is None or last is None:
        return f"No log says anything of {node} in this time."
    if isinstance(last.said, Stood):
        why = words(last).removeprefix("went silent: ")
        said = [f"{node} is {trace.closing} since {when(last.wall_ms)}: {why}."]
    else:
        began = [each for each in trace.steps if each.presence == Presence.ALIVE]
        since = f" since {when(began[-1].fact.wall_ms)}" if began else " all the time"
        said = [f"{node} is {trace.closing}{since}."]
    heard = [each.fact.said for each in trace.steps if isinstance(each.fact.said, Heard)]
    quiet = [each.quiet_ms for each in heard if each.before == Presence.SILENT]
    if quiet:
        times = "once" if len(quiet) == 1 else f"{len(quiet)} times"
        said.append(
            f"It was silent {times} before, for {format_duration(max(quiet))} at most: in no log is there an entry of it from "
            "then, so it did not write, and was not merely cut off."
        )
    missed = [each for each in trace.steps if each.was_writing is not None]
    if any(each.was_writing for each in missed):
        said.append("Others missed it while it was writing: the network between them was cut.")
    if missed or quiet or trace.closing == Presence.SILENT:
        said.append(_who_told([each.fact for each in missed], names))
    return " ".join(said)
