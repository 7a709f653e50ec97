"""What one vantage has recorded of a server, as scores need it: sums, and runs without a failure. Pure.

A record is of a stretch of time, and records of stretches that follow each other add up: of a long past once, and of what came
since again and again. That is why runs are kept by their ends:

    - failure   + passes      stretch      │ stretch
                              ++++-++---+++│++++++-+
                              first     last·first
                                        ╰─ one run ─╯

Guaranteed: in whatever stretches a time is cut, the sums are the same to rounding, and the runs the same. Not guaranteed: that a
run is exact to less than the periods it was made of; a period in which anything failed is in no run.
"""

from dataclasses import dataclass

from demesh.log.sums import DAY_MS

HALF_LIFE_MS = 7 * DAY_MS


def kept(age_ms: float) -> float:
    """What an observation of that age still counts; one that is dated later than now is of now."""
    return 0.5 ** (max(0.0, age_ms) / HALF_LIFE_MS)


@dataclass(frozen=True, slots=True)
class Run:
    """From the first period in which a test passed to the end of the last, with no failure between; Unix time."""

    begin_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.begin_ms


@dataclass(frozen=True, slots=True)
class Runs:
    """`first` is before the first failure, `last` after the last; where nothing failed, both are the only one."""

    failed: bool = False
    first: Run | None = None
    last: Run | None = None
    longest_ms: int = 0

    def then(self, later: "Runs") -> "Runs":
        """Of this stretch and the one that follows it."""
        joined = self.last
        if later.first:
            joined = Run(self.last.begin_ms if self.last else later.first.begin_ms, later.first.end_ms)
        return Runs(
            failed=self.failed or later.failed,
            first=self.first if self.failed else joined,
            last=later.last if later.failed else joined,
            longest_ms=max(self.longest_ms, later.longest_ms, joined.length_ms if joined else 0),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """`up_ms` and `down_ms` were observed; `kept_up_ms` and `kept_down_ms` are what they still count at some time (see
    `demesh.view.score`). `passed` and `failed` are tests; `passed_ms` is the end of the last period in which one passed.
    """

    up_ms: int = 0
    down_ms: int = 0
    kept_up_ms: float = 0.0
    kept_down_ms: float = 0.0
    passed: int = 0
    failed: int = 0
    passed_ms: int | None = None
    runs: Runs = Runs()

    def aged(self, ms: int) -> "Record":
        """What it still counts so much later."""
        share = kept(ms)
        return Record(
            self.up_ms,
            self.down_ms,
            share * self.kept_up_ms,
            share * self.kept_down_ms,
            self.passed,
            self.failed,
            self.passed_ms,
            self.runs,
        )

    def then(self, later: "Record") -> "Record":
        """Of this stretch and the one that follows it, both as of the same time."""
        return Record(
            self.up_ms + later.up_ms,
            self.down_ms + later.down_ms,
            self.kept_up_ms + later.kept_up_ms,
            self.kept_down_ms + later.kept_down_ms,
            self.passed + later.passed,
            self.failed + later.failed,
            self.passed_ms if later.passed_ms is None else later.passed_ms,
            self.runs.then(later.runs),
        )


NOTHING = Record()
