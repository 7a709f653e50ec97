"""When a check runs next. Pure; times are monotonic milliseconds.

Slots lie on a fixed grid, so a slow run never shifts the ones after it. A slot that was missed is skipped, not made up
for. While the last results contradict the vote, the next run comes after the retry interval instead of a whole interval:
once for each result that is needed to turn it.
"""


def next_run_ms(phase_ms: int, interval_ms: int, retry_interval_ms: int, ended_ms: int, *, turning: bool) -> int:
    """The time of the run after the one that ended at `ended_ms`, on the grid that starts at `phase_ms`."""
    slot_ms = phase_ms + ((ended_ms - phase_ms) // interval_ms + 1) * interval_ms
    return min(slot_ms, ended_ms + retry_interval_ms) if turning else slot_ms


def first_run_ms(now_ms: int, index: int, count: int, interval_ms: int) -> int:
    """The phase of check `index` of `count`: spread over the first five seconds at most, so that all answer soon."""
    spread_ms = min(5_000, interval_ms) // 2
    return now_ms + spread_ms * index // max(1, count)
