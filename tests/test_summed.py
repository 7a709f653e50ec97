"""History is the same whether the results that rollups sum are folded or passed over."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demesh.log.entry import Entry, Kind
from demesh.log.plan import split_plan
from demesh.log.results import Result, Results, read_results
from demesh.log.rollup import rollup_payloads
from demesh.log.store import Store
from demesh.log.summed import unsummed_from
from demesh.log.sums import HOUR_MS, Sums
from demesh.log.writer import Writer
from demesh.outcome import Outcome
from demesh.view.history import History
from tests.log.builders import MESH, Pen, Shelf, generated, public_key_of
from tests.view.build import row

_OWN = public_key_of("own")
_LATE_MS = 600_000
_MINUTE_MS = 60_000


class _Author(Pen):
    """A member that checks by its plan, signs the sums of each hour ten minutes after its end, and may lose its machine."""

    def __init__(self) -> None:
        super().__init__("ann")
        self._books = History(self.public_key)
        self.hello()
        self._books.apply(self.public_key, self.entries[0])
        self.plan({"web": 1, "slow": 230})

    def plan(self, minutes: dict[str, int]) -> None:
        """Each check's interval."""
        rows = [row(name, interval_ms=each * _MINUTE_MS) for name, each in minutes.items()]
        (part,) = split_plan(rows)
        self._minutes = list(minutes.values())
        self._plan = self._say(Kind.PLAN, part.payload()).seq

    def work(self, minutes: int, rng: random.Random) -> None:
        for minute in range(minutes):
            self.clock.now_ms += _MINUTE_MS - 2_000
            due = [index for index, each in enumerate(self._minutes) if minute % each == 0]
            outcomes = [rng.choice((Outcome.PASS, Outcome.PASS, Outcome.FAIL, Outcome.ERROR)) for _ in due]
            at = self.clock.up_ms()
            results = tuple(Result(index, at, each, 900) for index, each in zip(due, outcomes, strict=True))
            if results:
                self._say(Kind.RESULTS, Results(self._plan, results).payload(at + 1_000))
            self._sum()

    def rest(self, minutes: int) -> None:
        self.clock.now_ms += minutes * _MINUTE_MS

    def lose_power(self, boot8: bytes) -> None:
        self.clock.boot8 = boot8
        self.writer = Writer(self.key, MESH, boot8, self.log, self.entries[-1].head)

    def _sum(self) -> None:
        last_hour = (self.clock.wall_ms() - _LATE_MS) // HOUR_MS - 1
        for hour, rows in sorted(self._books.logs[self.log].open.items()):
            for payload in rollup_payloads(hour, rows) if hour <= last_hour else ():
                self._say(Kind.ROLLUP, payload)

    def _say(self, kind: Kind, payload: object) -> Entry:
        entry = self.write(kind, payload)  # pyright: ignore[reportArgumentType]
        self._books.apply(self.public_key, entry)
        return entry


_PLANS = ({"web": 1, "slow": 230, "new": 5}, {"web": 2, "slow": 230}, {"web": 1, "new": 5})
"""Checks come and go, and come back."""


def _lived(steps: Sequence[tuple[str, int]]) -> list[Entry]:
    author, rng = _Author(), random.Random(1)
    for number, (step, size) in enumerate(steps):
        match step:
            case "work":
                author.work(size, rng)
            case "rest":
                author.rest(size)
            case "plan":
                author.plan(_PLANS[size % len(_PLANS)])
            case _:
                author.lose_power(number.to_bytes(8, "big"))
    return author.entries


def _told(history: History, log: bytes) -> object:
    folded = history.logs[log]
    return folded.open, folded.slots, folded.applied_seq, history.take_signed()


def _folded(entries: Sequence[Entry]) -> History:
    history = History(_OWN)
    for entry in entries:
        history.apply(public_key_of("ann"), entry)
    return history


def _folded_but_summed(store: Store, entries: Sequence[Entry], first: int = 0) -> tuple[History, int]:
    """As a newcomer does that folded the entries before `first` already; and how many were passed over."""
    log, history = entries[0].log, _folded(entries[:first])
    begin = unsummed_from(store, log, first, entries_max=10_000)
    others = store.read_but_results(log, first, begin, bytes_max=2**40)
    for entry in others:
        history.apply(public_key_of("ann"), entry)
    history.pass_over(public_key_of("ann"), log, begin - 1)
    for entry in entries[begin:]:
        history.apply(public_key_of("ann"), entry)
    return history, begin - first - len(others)


_DAY = [("work", 400), ("rest", 100), ("work", 300), ("boot", 0), ("work", 200)]
_STEPS = st.lists(
    st.tuples(st.sampled_from(["work", "work", "rest", "plan", "boot"]), st.integers(1, 500)), min_size=3, max_size=6
)


@example([("work", 470)], 0, 1)  # the slow check ran last, before the last hour was summed, long ago
@example(
    [("plan", 0), ("work", 120), ("plan", 1), ("work", 300), ("plan", 0), ("work", 30)], 0, 1
)  # a check comes back
@settings(generated, max_examples=12)
@given(_STEPS, st.floats(0, 1), st.floats(0.3, 1))
def test_who_passes_over_what_was_summed_comes_to_the_same(
    steps: list[tuple[str, int]], begin: float, end: float
) -> None:
    entries = _lived([("work", 200), *steps])
    entries = entries[: max(1, int(len(entries) * end))]
    with Shelf(entries).store as store:
        history, _ = _folded_but_summed(store, entries, int(len(entries) * begin))
    assert _told(history, entries[0].log) == _told(_folded(entries), entries[0].log)


def test_most_of_a_long_log_is_passed_over() -> None:
    entries = _lived(_DAY)
    with Shelf(entries).store as store:
        _, passed = _folded_but_summed(store, entries)
    assert passed > len(entries) * 0.6


def test_results_count_from_the_last_result_of_the_slowest_check_on() -> None:
    """Its next result speaks for the time since."""
    entries = _lived([("plan", 0), ("work", 900)])
    slowest = [
        entry.seq
        for entry in entries
        if entry.kind == Kind.RESULTS
        and any(each.check == 2 for each in read_results(entry.payload, entry.up_ms).results)
    ]
    with Shelf(entries).store as store:
        assert unsummed_from(store, entries[0].log, 0, entries_max=10_000) in slowest
        assert unsummed_from(store, entries[0].log, 0, entries_max=10) == 0, "who may not look so far folds everything"


@pytest.mark.parametrize("steps", [[("work", 30)], [("rest", 300)]])
def test_without_rollups_everything_counts(steps: list[tuple[str, int]]) -> None:
    entries = _lived(steps)
    with Shelf(entries).store as store:
        assert unsummed_from(store, entries[0].log, 0, entries_max=10_000) == 0


def test_what_no_rollup_ever_summed_of_earlier_hours_counts_no_more() -> None:
    """Else who passed over it would come to something else."""
    author = _Author()
    author.work(50, random.Random(1))
    hour = next(iter(_folded(author.entries).logs[author.log].open))
    author.rest(120)
    author.write(Kind.ROLLUP, rollup_payloads(hour + 1, {"web": Sums()})[0])
    assert _folded(author.entries).logs[author.log].open == {}
