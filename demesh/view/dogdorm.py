"""What Dogdorm would say of a server, to stand beside our score (docs/servers.md). Pure.

Dogdorm looked from one place, so each vantage that counts is a Dogdorm of its own, and what is told is what the one in the
middle would know: by their scores, and of two in the middle the lower. So its numbers fit each other, and one vantage with a
trouble of its own does not spoil them.

Guaranteed: the order of vantages does not matter; what does not blame the target is no test. Not guaranteed: that the numbers are
Dogdorm's to the test. It was told of each test; this knows sums, so a run begins and ends with an hour or a day. And Dogdorm
credits an outage to the run that follows it; this does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from demesh.view.score import Witness
from demesh.view.vote import Vote

_TESTS = 50


@dataclass(frozen=True, slots=True)
class Life:
    """A server's whole life as `node` knows it: tests, runs without a failure in seconds, the last success in Unix time."""

    node: str
    score: float
    tests: int
    failed: int
    uptime_s: int
    uptime_max_s: int
    last_success_s: int


def life_of(witnesses: Mapping[str, Witness], passed_ms: Mapping[str, int]) -> Life | None:
    """None while no vantage that counts has recorded a test. `passed_ms` (Unix time) is of the newest result, if that passed."""
    lives = [
        _life(name, each, passed_ms.get(name))
        for name, each in witnesses.items()
        if each.counts and each.record.passed + each.record.failed
    ]
    lives.sort(key=lambda each: (each.score, each.node))
    return lives[(len(lives) - 1) // 2] if lives else None


def dogdorm_score(tests: int, failed: int, uptime_s: float, uptime_max_s: float) -> float:
    """`tests` were made, `failed` of them failed; `uptime_s` it has been up without a failure, `uptime_max_s` at the most so far.

    Dogdorm's rule: the share that passed, times a half to one as the run now is of the longest, times 1 - exp(-tests / 50).
    """
    tests, failed, uptime_s = max(0, tests), max(0, failed), max(0.0, uptime_s)
    run = min(1.0, uptime_s / uptime_max_s) if uptime_max_s > 0 else 0.0
    passed = 1 - failed / (tests + 1e-9)
    return min(1.0, max(0.0, passed * (0.5 * run + 0.5) * (1 - exp(-tests / _TESTS))))


def _life(name: str, witness: Witness, passed_ms: int | None) -> Life:
    record = witness.record
    run = record.runs.last if witness.vote != Vote.FAIL else None
    uptime_s, uptime_max_s = (run.length_ms // 1_000 if run else 0), record.runs.longest_ms // 1_000
    tests = record.passed + record.failed
    return Life(
        node=name,
        score=dogdorm_score(tests, record.failed, uptime_s, uptime_max_s),
        tests=tests,
        failed=record.failed,
        uptime_s=uptime_s,
        uptime_max_s=uptime_max_s,
        last_success_s=max(passed_ms or 0, record.passed_ms or 0) // 1_000,
    )
