"""What one vantage says of one check: a small machine over its results, in the order of its log.

    state   a run of …                     becomes
    none    1 pass                         pass
    none    fail_after blaming outcomes    fail
    pass    fail_after blaming outcomes    fail
    fail    recover_after passes           pass

`error` outcomes (the node could not run the probe) neither count nor break a run. A vote is only as good as its newest
result is fresh: see `demesh.view.fold`. After a gap longer than that, or a reboot, the machine starts from none again, so
that an old failure is not revived by a new pass.

Over all gaps it counts how often the target was tried in vain before it passed for the first time.

Beside that it tells whether the target *flaps*: of the last 21 results that counted, each but the first is a change or not;
6 changes begin it; fewer than 4 end it, and so do 10 in a row that say the same. What goes back and forth without ever failing
twice in a row is found out so, too.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from demesh import limits
from demesh.log.results import Result
from demesh.outcome import Outcome


class Vote(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Observation:
    """A result, the boot in which its up time counts, and the author's wall time at its end."""

    result: Result
    boot8: bytes
    wall_ms: int


@dataclass(frozen=True, slots=True)
class VoteState:
    """The machine's state. `since` began the run that led to `vote`; `counted` is the newest that was not an error."""

    vote: Vote = Vote.UNSEEN
    since: Observation | None = None
    run_blames: bool = False
    run_length: int = 0
    run_start: Observation | None = None
    counted: Observation | None = None
    last: Observation | None = None
    certificate_expires_s: int | None = None
    address: str | None = None
    recent: int = 1
    """The last results that counted, newest in the lowest bit, 1 for one that blames, below a bit that is always 1."""
    flapping: bool = False
    tries: int | None = 0
    """So many results that counted blamed the target before the first that passed; None once one has."""
    other_address: str | None = None


_RECENT = 21
_FULL = 1 << _RECENT
_FLAPS_FROM = 6
_FLAPS_UNTIL = 3
_STEADY_RUN = 10


def fresh_ms(interval_ms: int) -> int:
    """How long a result of a check with this interval counts."""
    return 2 * interval_ms + limits.RESULT_FRESH_EXTRA_MS


def advance(state: VoteState, seen: Observation, *, interval_ms: int, fail_after: int, recover_after: int) -> VoteState:
    """The state after one more result."""
    result = seen.result
    certificate_expires_s = result.certificate_expires_s or state.certificate_expires_s
    address = result.address or state.address
    other_address = result.other_address or state.other_address
    if result.outcome == Outcome.ERROR:
        return replace(
            state,
            last=seen,
            certificate_expires_s=certificate_expires_s,
            address=address,
            other_address=other_address,
        )
    if state.counted is not None and _is_gap(state.counted, seen, interval_ms):
        state = VoteState(tries=state.tries)
    blames = result.outcome.blames_target
    if state.run_length and blames == state.run_blames:
        length, start = state.run_length + 1, state.run_start
    else:
        length, start = 1, seen
    vote, since, said = state.vote, state.since, Vote.FAIL if blames else Vote.PASS
    if said != vote and length >= (fail_after if blames else 1 if vote == Vote.UNSEEN else recover_after):
        vote, since = said, start
    recent = state.recent << 1 | blames
    if recent >= _FULL << 1:
        recent = _FULL | recent & (_FULL - 1)
    changes = ((recent ^ recent >> 1) & ((1 << recent.bit_length() - 2) - 1)).bit_count()
    flapping = changes > _FLAPS_UNTIL and length < _STEADY_RUN if state.flapping else changes >= _FLAPS_FROM
    tries = state.tries + 1 if blames and state.tries is not None else None
    # Made at once: this is what folding spends most of its time on.
    return VoteState(
        vote,
        since,
        blames,
        length,
        start,
        seen,
        seen,
        certificate_expires_s,
        address,
        recent,
        flapping,
        tries,
        other_address,
    )


def is_turning(state: VoteState) -> bool:
    """Whether the last results contradict the vote, or no vote has formed: worth a quick confirmation."""
    return bool(state.run_length) and (Vote.FAIL if state.run_blames else Vote.PASS) != state.vote


def _is_gap(before: Observation, seen: Observation, interval_ms: int) -> bool:
    return before.boot8 != seen.boot8 or seen.result.up_ms - before.result.up_ms > fresh_ms(interval_ms)
