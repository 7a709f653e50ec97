"""The history that is signed and how far it was folded, in `view.db`: derived from the logs, deletable at any time.

Guarantees: signed sums, the position up to which each log was folded, and which logs are gone are saved in one transaction,
so nothing is counted twice or left out, however the process ends. A file that is damaged, or of another version, is replaced
by `open_history` and the history is folded anew. The same logs give the same rows.

One `HistoryStore` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import apsw

from demesh import limits
from demesh.errors import EntryError, HistoryError
from demesh.log.carry import CarriedRow
from demesh.log.codec import decode, encode
from demesh.log.sums import DAY_MS, HOUR_MS, Sums, read_sums
from demesh.view.history import History, LogHistory, Signed
from demesh.view.history_records import Records
from demesh.view.history_schema import open_tables
from demesh.view.history_state import decode_state, encode_state
from demesh.view.record import Record
from demesh.view.seal import opened, sealed, unsealed
from demesh.view.snapshot import decode_votes
from demesh.view.uptime import Observed
from demesh.view.vote import VoteState

log = logging.getLogger(__name__)

_WHOLE = (
    "public_key, name, period_ms, start_ms, id, up_ms, down_ms, passed, failed, CAST(columns AS BLOB), "
    "period_ms, start_ms, sums.subject, sums.source FROM sums "
    "LEFT JOIN subject ON subject.no = sums.subject LEFT JOIN source ON source.no = sums.source"
)
_FIRST = (-1, -1, -1, -1)
_DAYS = (
    f"SELECT subject, start_ms, up_ms, down_ms FROM sums WHERE period_ms = {DAY_MS} "
    "AND start_ms >= ?1 AND start_ms < ?2 UNION ALL "
    f"SELECT subject, start_ms - start_ms % {DAY_MS}, up_ms, down_ms FROM sums AS hour WHERE period_ms = {HOUR_MS} "
    "AND start_ms >= ?1 AND start_ms < ?2 AND NOT EXISTS (SELECT 1 FROM sums AS day WHERE day.subject = hour.subject "
    f"AND day.period_ms = {DAY_MS} AND day.start_ms = hour.start_ms - hour.start_ms % {DAY_MS})"
)
_UNDAYED = (
    f"SELECT 1 FROM sums AS hour WHERE period_ms = {HOUR_MS} AND start_ms < ?1 "
    "AND NOT EXISTS (SELECT 1 FROM sums AS day WHERE day.subject = hour.subject "
    f"AND day.period_ms = {DAY_MS} AND day.start_ms = hour.start_ms - hour.start_ms % {DAY_MS}) LIMIT 1"
)


class HistoryStore:
    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open `view.db`; unless `readonly`, make it if it is missing. Raises HistoryError if it cannot be used."""
        self.path = path
        self._scrubbed = _FIRST
        self._db = open_tables(path, readonly)
        self._records = Records(self._rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def size(self) -> int:
        """Bytes of the file that hold something: what forgetting frees is used again, and goes back bit by bit."""
        ((used,),) = self._rows(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        return cast(int, used)

    def load(self, own_key: bytes) -> History:
        """The history as it was saved last. Raises HistoryError."""
        history = History(own_key)
        try:
            for log_id, public_key, applied_seq, state in self._rows(
                "SELECT id, public_key, applied_seq, CAST(state AS BLOB) FROM log"
            ):
                beside = (cast(bytes, log_id), cast(bytes, public_key), cast(int, applied_seq))
                folded = LogHistory(*beside[1:])
                decode_state(folded, opened(cast(bytes, state), *beside))
                history.logs[cast(bytes, log_id)] = folded
        except (EntryError, TypeError) as error:
            raise HistoryError(f"{self.path} is damaged: {error}.") from error
        return history

    def save(
        self, history: History, signed: Sequence[Signed], dirty: Iterable[bytes], gone: Iterable[bytes] = ()
    ) -> None:
        """Save what was signed, and the open part of the logs in `dirty`, but nothing of the logs `gone`, at once.

        Raises HistoryError.
        """
        try:
            with self._db:
                for each in signed:
                    self._add(each)
                self._forget_logs(gone)
                for log_id in dirty:
                    folded = history.logs.get(log_id)
                    if folded is None:
                        continue
                    beside = (folded.public_key, folded.saved_seq)
                    self._db.execute(
                        "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?)",
                        (log_id, *beside, sealed(encode_state(folded), log_id, *beside)),
                    )
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def forget_logs(self, logs: Iterable[bytes]) -> None:
        """Forget all that is of these logs. Raises HistoryError."""
        try:
            with self._db:
                self._forget_logs(logs)
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def save_votes(self, rows: Iterable[tuple[bytes, int, bytes]]) -> None:
        """Save (log, the sequence number up to which it was folded, `demesh.view.snapshot`). Raises HistoryError."""
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO votes VALUES (?, ?, ?)",
                    [(log_id, seq, sealed(state, log_id, seq)) for log_id, seq, state in rows],
                )
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def votes(self, log_id: bytes) -> tuple[int, dict[tuple[str, bytes], VoteState]] | None:
        """The votes of a log as they were saved last, and the sequence number up to which they were folded."""
        for seq, state in self._rows("SELECT seq, CAST(state AS BLOB) FROM votes WHERE log = ?", (log_id,)):
            try:
                return cast(int, seq), decode_votes(opened(cast(bytes, state), log_id, cast(int, seq)))
            except (EntryError, TypeError) as error:
                log.warning("The votes in %s cannot be read (%s); they are folded anew.", self.path, error)
        return None

    def voted(self) -> list[tuple[bytes, int]]:
        """The logs whose votes are saved, and the sequence number up to which each was folded."""
        return [(cast(bytes, log_id), cast(int, seq)) for log_id, seq in self._rows("SELECT log, seq FROM votes")]

    def forget(self, hours_before_ms: int) -> None:
        """Forget hours before a time (Unix). Raises HistoryError."""
        if any(self._rows(_UNDAYED, (hours_before_ms,))):
            self._records.forget()
        try:
            with self._db:
                self._db.execute("DELETE FROM sums WHERE period_ms = ? AND start_ms < ?", (HOUR_MS, hours_before_ms))
            for _ in self._db.execute(f"PRAGMA incremental_vacuum({limits.RETENTION_PAGES_MAX})"):
                pass  # each step gives one page back
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def hours(self, first_ms: int, end_ms: int) -> dict[str, Observed]:
        """By check, the signed hours that begin from `first_ms` to before `end_ms`."""
        return self._observed(
            f"SELECT subject, start_ms, up_ms, down_ms FROM sums WHERE period_ms = {HOUR_MS} "
            "AND start_ms >= ?1 AND start_ms < ?2",
            HOUR_MS,
            first_ms,
            end_ms,
        )

    def days(self, first_ms: int, end_ms: int) -> dict[str, Observed]:
        """By check, the days from `first_ms` to before `end_ms`: each from its signed day, or else from its signed hours."""
        return self._observed(_DAYS, DAY_MS, first_ms, end_ms)

    def records(self, now_ms: int) -> dict[str, dict[bytes, Record]]:
        """By check and by the key of the vantage: all that is signed of it, as of `now_ms` (Unix time)."""
        return self._records.at(now_ms)

    def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]:
        """(key, check, start) of each signed day from `first_ms` to before `end_ms`."""
        rows = self._rows(
            "SELECT public_key, name, start_ms FROM sums JOIN subject ON subject.no = sums.subject "
            "WHERE period_ms = ? AND start_ms >= ? AND start_ms < ?",
            (DAY_MS, first_ms, end_ms),
        )
        return {(cast(bytes, key), cast(str, name), cast(int, start_ms)) for key, name, start_ms in rows}

    def days_in(self, logs: Iterable[bytes]) -> dict[bytes, list[CarriedRow]]:
        """The signed days that stand in each of `logs`, carried ones among them."""
        rows = self._rows(
            f"SELECT {_WHOLE} WHERE period_ms = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))",
            (DAY_MS, _hex(logs)),
        )
        found: dict[bytes, list[CarriedRow]] = {}
        for row in rows:
            signed = self._signed(row)
            found.setdefault(signed.log, []).append(CarriedRow(signed.start_ms // DAY_MS, signed.name, signed.sums))
        return found

    def scrub(self, rows_max: int) -> bool:
        """Look at the next sums, and after the last at the first again; whether these were the last. Raises HistoryError if
        one is not what was stored.

        Before the first, at SQLite's own tables: a damaged index would hide what is well.
        """
        if self._scrubbed == _FIRST and (faults := [line for (line,) in self._rows("PRAGMA integrity_check(1)")]) != [
            "ok"
        ]:
            raise HistoryError(f"{self.path} is damaged: {faults[0]}.")
        rows = list(
            self._rows(
                f"SELECT {_WHOLE} WHERE (period_ms, start_ms, sums.subject, sums.source) > (?, ?, ?, ?) "
                "ORDER BY period_ms, start_ms, sums.subject, sums.source LIMIT ?",
                (*self._scrubbed, rows_max),
            )
        )
        for row in rows:
            self._signed(row)
        is_last = len(rows) < rows_max
        self._scrubbed = _FIRST if is_last else cast(tuple[int, int, int, int], rows[-1][-4:])
        return is_last

    def histograms(self, first_ms: int) -> dict[str, dict[int, int]]:
        """By check, how often each latency bucket occurred in the signed hours from `first_ms` on."""
        found: dict[str, dict[int, int]] = {}
        rows = self._rows(
            "SELECT name, CAST(columns AS BLOB) FROM sums JOIN subject ON subject.no = sums.subject "
            "WHERE period_ms = ? AND start_ms >= ?",
            (HOUR_MS, first_ms),
        )
        for name, columns in rows:
            into = found.setdefault(cast(str, name), {})
            for bucket, number in self._sums(unsealed(cast(bytes, columns))).histogram.items():
                into[bucket] = into.get(bucket, 0) + number
        return found

    def dump(self) -> list[tuple[object, ...]]:
        """Everything that was derived, in an order that does not depend on how it came about."""
        return [
            *self._rows(
                "SELECT public_key, name, period_ms, start_ms, id, up_ms, down_ms, passed, failed, columns FROM sums "
                "JOIN subject ON subject.no = sums.subject JOIN source ON source.no = sums.source "
                "ORDER BY public_key, name, period_ms, start_ms, id"
            ),
            *self._rows("SELECT id, public_key, applied_seq, state FROM log ORDER BY id"),
        ]

    def _observed(self, rows: str, period_ms: int, first_ms: int, end_ms: int) -> dict[str, Observed]:
        found = self._rows(
            f"WITH part AS ({rows}), vantage AS (SELECT subject, start_ms, SUM(up_ms) AS up, SUM(down_ms) AS down "
            "FROM part GROUP BY subject, start_ms), "
            "seen AS (SELECT name, start_ms, SUM(up) AS up, SUM(down) AS down, MAX(up + down) AS most "
            "FROM vantage JOIN subject ON subject.no = vantage.subject GROUP BY name, start_ms) "
            "SELECT name, SUM(up), SUM(down), SUM(MIN(most, ?3)) FROM seen GROUP BY name",
            (first_ms, end_ms, period_ms),
        )
        return {cast(str, name): Observed(*cast(list[int], numbers)) for name, *numbers in found}

    def _add(self, signed: Signed) -> None:
        subject = (signed.public_key, signed.name)
        self._db.execute("INSERT OR IGNORE INTO subject (public_key, name) VALUES (?, ?)", subject)
        (number,) = next(self._rows("SELECT no FROM subject WHERE public_key = ? AND name = ?", subject))
        self._db.execute("INSERT OR IGNORE INTO source (id) VALUES (?)", (signed.log,))
        (source,) = next(self._rows("SELECT no FROM source WHERE id = ?", (signed.log,)))
        place = (number, source, signed.period_ms, signed.start_ms)
        held = list(
            self._rows(
                f"SELECT {_WHOLE} WHERE sums.subject = ? AND sums.source = ? AND period_ms = ? AND start_ms = ?", place
            )
        )
        sums = self._signed(held[0]).sums if held else Sums()
        sums.add(signed.sums)
        beside = (
            signed.public_key,
            signed.name,
            signed.period_ms,
            signed.start_ms,
            signed.log,
            *(totals := (sums.up_ms, sums.down_ms, sums.passed, sums.failed)),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO sums (subject, source, period_ms, start_ms, up_ms, down_ms, passed, failed, columns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, *totals, sealed(encode(sums.columns()), *beside)),
        )
        self._records.note(signed.start_ms)

    def _forget_logs(self, logs: Iterable[bytes]) -> None:
        """In one pass over all sums: it happens rarely, and an index by log would be a fifth of the file."""
        gone = _hex(logs)
        if gone == "[]":
            return
        self._records.forget()
        named = "SELECT unhex(value) FROM json_each(?)"
        self._db.execute(f"DELETE FROM sums WHERE source IN (SELECT no FROM source WHERE id IN ({named}))", (gone,))
        self._db.execute(f"DELETE FROM source WHERE id IN ({named})", (gone,))
        self._db.execute(f"DELETE FROM log WHERE id IN ({named})", (gone,))
        self._db.execute(f"DELETE FROM votes WHERE log IN ({named})", (gone,))

    def _signed(self, row: tuple[object, ...]) -> Signed:
        """What a row of _WHOLE says. Raises HistoryError if it is not what was stored."""
        key, name, period_ms, start_ms, log_id, *totals, columns = cast(
            tuple[bytes, str, int, int, bytes, int, int, int, int, bytes], row[:10]
        )
        try:
            blob = opened(columns, key, name, period_ms, start_ms, log_id, *totals)
        except (EntryError, TypeError) as error:
            raise HistoryError(f"{self.path} is damaged: {error}.") from error
        return Signed(key, log_id, name, period_ms, start_ms, self._sums(blob))

    def _sums(self, columns: bytes) -> Sums:
        try:
            return read_sums(decode(columns))
        except (EntryError, TypeError) as error:
            raise HistoryError(f"{self.path} is damaged: {error}.") from error

    def _rows(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
        try:
            yield from self._db.execute(sql, cast(tuple[int, ...], bindings))
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be read: {error}.") from error
        except UnicodeDecodeError as error:
            raise HistoryError(f"{self.path} is damaged: a text in it is none.") from error


def open_history(path: Path, heads: Mapping[bytes, int]) -> HistoryStore:
    """`view.db`, made anew if it cannot be used. Raises HistoryError if that is not possible either.

    `heads` are the sequence numbers up to which the logs are held: what was folded beyond them was of another store. Logs that
    are not held at all are forgotten: they are gone, or of another store.
    """
    try:
        store = HistoryStore(path)
        folded = {log_id: each.applied_seq for log_id, each in store.load(b"").logs.items()}
        for log_id, seq in [*folded.items(), *store.voted()]:
            if seq > heads.get(log_id, seq):
                store.close()
                raise HistoryError(f"{path} tells of entries that the store does not hold.")
        store.forget_logs({*folded, *(log_id for log_id, _ in store.voted())} - heads.keys())
    except (HistoryError, TypeError, ValueError, AttributeError) as error:  # a flipped bit can make any column anything
        said = str(error) if isinstance(error, HistoryError) else f"{path} is damaged."
        log.warning("%s It is derived from the logs and made anew.", said)
        return make_anew(path)
    return store


def _hex(logs: Iterable[bytes]) -> str:
    return json.dumps(sorted(log_id.hex() for log_id in logs))


def make_anew(path: Path) -> HistoryStore:
    """An empty `view.db` in the place of whatever is there. Raises HistoryError."""
    for suffix in ("", "-wal", "-shm"):
        try:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise HistoryError(f"{path}{suffix} cannot be removed: {error.strerror}.") from error
    return HistoryStore(path)
