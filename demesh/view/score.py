"""How good a public server is: a number between 0 and 1, of what vantages observed of it and what they say now. Pure.

    kept(age)   = 2 ** (-age / 7 d)                                    what an observation of that age still counts
    up, down    = sums over the hours of one vantage: up_ms * kept, down_ms * kept, in ms
    weight      = 1 - exp(-(up + down) / 24 h)                         how much one vantage has seen; below 1
    record      = sum(weight * up / (up + down)) / sum(weight)         over the vantages that have seen anything
    evidence    = sum(weight) / (sum(weight) + 0.5)                    more vantages are more; one never reaches 2/3
    now         = 1 - 0.9 * max(0, 2 * fails / (fails + passes) - 1)   of the votes that count; 1 without any
    score       = record * evidence * now

A week, because a server that was mended should not pay for it next month, while a night of failures should still be seen on the
day after. The votes are the fast term: they follow within two checks. What a minority sees fail now does not touch `now`, only
its own record; what all see fail leaves a tenth of the score.

Guaranteed: an unseen vote and an hour that nobody observed are neither good nor bad; a vantage that does not count (broken, cut
off, unable, away) counts neither with its vote nor with its record; the order of vantages does not matter, to the last bit. Not
guaranteed: that what a vantage recorded while it was broken is left out once it is well again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, fsum

from demesh.log.sums import DAY_MS
from demesh.view.record import NOTHING, Record
from demesh.view.vote import Vote

_SEEN_MUCH_MS = DAY_MS
_VANTAGES_DOUBTED = 0.5
_DOWN_COSTS = 0.9


@dataclass(frozen=True, slots=True)
class Witness:
    """What one vantage knows of a server. `counts` is False if it is excluded: broken, cut off, unable, away, silent."""

    vote: Vote
    record: Record = NOTHING
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is the product of the others; each between 0 and 1. Without any evidence it is 0, and `record` is None.

    `passing` and `failing` say who sees it so now.
    """

    value: float
    record: float | None
    evidence: float
    now: float
    passing: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()


def score(witnesses: Mapping[str, Witness]) -> Score:
    """The score of a server that these vantages, by name, watch, at the time that their records are of."""
    counted = {name: each for name, each in witnesses.items() if each.counts}
    records = [_weighed(each.record) for each in counted.values()]
    weights = fsum(weight for weight, _ in records)
    passing, failing = (
        tuple(sorted(name for name, each in counted.items() if each.vote == vote)) for vote in (Vote.PASS, Vote.FAIL)
    )
    now = _now(len(passing), len(failing))
    if not weights:
        return Score(0.0, None, 0.0, now, passing, failing)
    record = fsum(weight * ratio for weight, ratio in records) / weights
    evidence = weights / (weights + _VANTAGES_DOUBTED)
    return Score(record * evidence * now, record, evidence, now, passing, failing)


def _weighed(record: Record) -> tuple[float, float]:
    """How much a vantage has seen, as a weight, and which share of that was up."""
    seen_ms = record.kept_up_ms + record.kept_down_ms
    return (1 - exp(-seen_ms / _SEEN_MUCH_MS), record.kept_up_ms / seen_ms) if seen_ms else (0.0, 0.0)


def _now(passing: int, failing: int) -> float:
    votes = passing + failing
    return 1 - _DOWN_COSTS * max(0.0, 2 * failing / votes - 1) if votes else 1.0
