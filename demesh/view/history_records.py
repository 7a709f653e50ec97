"""The records of all vantages (`demesh.view.record`), read from the sums in `view.db`.

Guarantees: what is told is what the sums amount to, whenever it was asked before. What is past is added up once, and again only
when a sum of that time is written or forgotten. Days are told from signed days, or else from their signed hours.

All the work is SQLite's, which lets other threads run meanwhile.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.record import HALF_LIFE_MS, Record, Run, Runs

_PERIODS = f"""
    SELECT subject, {DAY_MS} AS period_ms, start_ms, up_ms, down_ms, passed, failed FROM sums
    WHERE period_ms = {DAY_MS} AND start_ms >= ?1 AND start_ms < ?2
    UNION ALL
    SELECT subject, {HOUR_MS}, start_ms, up_ms, down_ms, passed, failed FROM sums AS hour
    WHERE period_ms = {HOUR_MS} AND start_ms >= ?1 AND start_ms < ?2 AND NOT EXISTS (
        SELECT 1 FROM sums AS day WHERE day.period_ms = {DAY_MS} AND day.subject = hour.subject
        AND day.start_ms = hour.start_ms - hour.start_ms % {DAY_MS}
    )
"""
_RECORDS = f"""
WITH period AS ({_PERIODS}),
cut AS (
    SELECT *, start_ms + period_ms AS end_ms, failed = 0 AND passed > 0 AS runs,
        SUM(failed > 0) OVER (PARTITION BY subject ORDER BY start_ms, failed > 0 ROWS UNBOUNDED PRECEDING) AS run,
        MIN(1.0, pow(2, (start_ms + period_ms / 2 - ?3) / {HALF_LIFE_MS}.0)) AS kept
    FROM period
),
run AS (
    SELECT subject, run, SUM(up_ms) AS up_ms, SUM(down_ms) AS down_ms,
        SUM(up_ms * kept) AS kept_up_ms, SUM(down_ms * kept) AS kept_down_ms,
        SUM(passed) AS passed, SUM(failed) AS failed, MAX(end_ms) FILTER (WHERE passed > 0) AS passed_ms,
        MIN(start_ms) FILTER (WHERE runs) AS begin_ms, MAX(end_ms) FILTER (WHERE runs) AS end_ms
    FROM cut GROUP BY subject, run
)
SELECT name, public_key, SUM(up_ms), SUM(down_ms), SUM(kept_up_ms), SUM(kept_down_ms), SUM(passed), SUM(failed), MAX(passed_ms),
    MAX(run) AS failures, MIN(begin_ms) FILTER (WHERE run = 0), MIN(end_ms) FILTER (WHERE run = 0),
    MAX(run) FILTER (WHERE begin_ms IS NOT NULL) AS last_run, MAX(begin_ms), MAX(end_ms), MAX(end_ms - begin_ms)
FROM run JOIN subject ON subject.no = run.subject GROUP BY run.subject
"""
"""Of the periods that begin from ?1 to before ?2, as of ?3. Of the periods of a vantage, `run` counts the failed ones so far."""

_Subject = tuple[str, bytes]
_HOURS_UNSETTLED = 3  # an hour is signed within the next, and may arrive a little later


class _Row(NamedTuple):
    name: str
    public_key: bytes
    up_ms: int
    down_ms: int
    kept_up_ms: float
    kept_down_ms: float
    passed: int
    failed: int
    passed_ms: int | None
    failures: int
    first_begin_ms: int | None
    first_end_ms: int
    last_run: int | None
    last_begin_ms: int
    last_end_ms: int
    longest_ms: int | None

    def record(self) -> Record:
        runs = Runs(
            failed=self.failures > 0,
            first=None if self.first_begin_ms is None else Run(self.first_begin_ms, self.first_end_ms),
            last=Run(self.last_begin_ms, self.last_end_ms) if self.last_run == self.failures else None,
            longest_ms=self.longest_ms or 0,
        )
        return Record(
            self.up_ms,
            self.down_ms,
            self.kept_up_ms,
            self.kept_down_ms,
            self.passed,
            self.failed,
            self.passed_ms,
            runs,
        )


class _Stretch(NamedTuple):
    """Records of all that began before `until_ms`, as of then."""

    until_ms: int
    records: dict[_Subject, Record]


_NEVER = _Stretch(0, {})


class Records:
    def __init__(self, rows: Callable[[str, tuple[object, ...]], Iterator[tuple[object, ...]]]) -> None:
        """`rows` runs a query with its bindings; whatever it raises comes through."""
        self._rows = rows
        self._past = _NEVER
        """Until the day before today: these days are signed, as a rule."""
        self._lately = _NEVER
        """The past, and what followed until a few hours ago: these hours are signed."""

    def forget(self) -> None:
        """Add everything up anew the next time."""
        self._past = self._lately = _NEVER

    def note(self, start_ms: int) -> None:
        """A sum of a period that begins then (Unix time) has changed."""
        if start_ms < self._past.until_ms:
            self.forget()
        elif start_ms < self._lately.until_ms:
            self._lately = self._past

    def at(self, now_ms: int) -> dict[str, dict[bytes, Record]]:
        """By check and key, as of `now_ms` (Unix time)."""
        past_ms, lately_ms = (now_ms // DAY_MS - 1) * DAY_MS, (now_ms // HOUR_MS - _HOURS_UNSETTLED) * HOUR_MS
        if past_ms < self._past.until_ms or lately_ms < self._lately.until_ms:
            self.forget()  # the clock was set back
        if past_ms > self._past.until_ms:
            self._past = self._lately = self._go_on(self._past, past_ms)
        if lately_ms > self._lately.until_ms:
            self._lately = self._go_on(self._lately, lately_ms)
        found: dict[str, dict[bytes, Record]] = {}
        for (name, key), record in self._go_on(self._lately, now_ms).records.items():
            found.setdefault(name, {})[key] = record
        return found

    def _go_on(self, before: _Stretch, until_ms: int) -> _Stretch:
        age_ms = until_ms - before.until_ms
        found = {subject: record.aged(age_ms) for subject, record in before.records.items()}
        for row in self._rows(_RECORDS, (before.until_ms, until_ms, until_ms)):
            read = _Row._make(cast(tuple[Any, ...], row))
            subject = read.name, read.public_key
            earlier, later = found.get(subject), read.record()
            found[subject] = earlier.then(later) if earlier else later
        return _Stretch(until_ms, found)
