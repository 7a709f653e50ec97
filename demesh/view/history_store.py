"""The history that is signed and how far it was folded, in `view.db`: derived from the logs, deletable at any time.

Guarantees: signed sums and the position up to which each log was folded are saved in one transaction, so nothing is counted
twice or left out, however the process ends. A file that is damaged, or of another version, is replaced by `open_history` and
the history is folded anew. The same logs give the same rows.

One `HistoryStore` is one connection: use it from one thread at a time.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import apsw

from demesh.errors import EntryError, HistoryError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.sums import DAY_MS, HOUR_MS, Sums, read_row, read_sums
from demesh.view.history import History, LogHistory, Moment, Signed
from demesh.view.snapshot import decode_votes
from demesh.view.uptime import Observed
from demesh.view.vote import VoteState

log = logging.getLogger(__name__)

_VERSION = 1
_SCHEMA = """
CREATE TABLE subject (
    no INTEGER PRIMARY KEY,
    public_key BLOB NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (public_key, name)
);
CREATE TABLE sums (
    subject INTEGER NOT NULL,
    period_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    up_ms INTEGER NOT NULL,
    down_ms INTEGER NOT NULL,
    columns BLOB NOT NULL,               -- all of them, as docs/protocol.md has a row without its name
    PRIMARY KEY (period_ms, start_ms, subject)
) WITHOUT ROWID;
CREATE TABLE log (id BLOB PRIMARY KEY, public_key BLOB NOT NULL, applied_seq INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE votes (log BLOB PRIMARY KEY, seq INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
"""
_STATE_DEPTH = 6


class HistoryStore:
    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open `view.db`; unless `readonly`, make it if it is missing. Raises HistoryError if it cannot be used."""
        self.path = path
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            self._db = apsw.Connection(str(path), flags=flags)
            if not readonly:
                self._db.pragma("journal_mode", "wal")
                self._db.pragma("synchronous", 1)  # NORMAL: what is lost is folded again
            version = cast(int, self._db.pragma("user_version"))
            if version == 0 and not readonly:
                with self._db:
                    self._db.execute(_SCHEMA)
                    self._db.pragma("user_version", _VERSION)
        except apsw.Error as error:
            raise HistoryError(f"Cannot open {path}: {error}.") from error
        if version != _VERSION and (version or readonly):
            self.close()
            raise HistoryError(f"{path} has schema version {version}; this demesh reads version {_VERSION}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def load(self, own_key: bytes) -> History:
        """The history as it was saved last. Raises HistoryError."""
        history = History(own_key)
        try:
            for log_id, public_key, applied_seq, state in self._rows(
                "SELECT id, public_key, applied_seq, CAST(state AS BLOB) FROM log"
            ):
                folded = LogHistory(cast(bytes, public_key), cast(int, applied_seq))
                _read_state(folded, decode(cast(bytes, state), depth_max=_STATE_DEPTH))
                history.logs[cast(bytes, log_id)] = folded
        except EntryError as error:
            raise HistoryError(f"{self.path} is damaged: {error}.") from error
        return history

    def save(self, history: History, signed: Sequence[Signed], dirty: Iterable[bytes]) -> None:
        """Save what was signed, and the open part of the logs in `dirty`, at once. Raises HistoryError."""
        try:
            with self._db:
                for each in signed:
                    self._add(each)
                for log_id in dirty:
                    folded = history.logs[log_id]
                    self._db.execute(
                        "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?)",
                        (log_id, folded.public_key, folded.applied_seq, encode(_state(folded))),
                    )
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def save_votes(self, rows: Iterable[tuple[bytes, int, bytes]]) -> None:
        """Save (log, the sequence number up to which it was folded, `demesh.view.snapshot`). Raises HistoryError."""
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO votes VALUES (?, ?, ?)", list(rows))
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be written: {error}.") from error

    def votes(self, log_id: bytes) -> tuple[int, dict[tuple[str, bytes], VoteState]] | None:
        """The votes of a log as they were saved last, and the sequence number up to which they were folded."""
        for seq, state in self._rows("SELECT seq, CAST(state AS BLOB) FROM votes WHERE log = ?", (log_id,)):
            try:
                return cast(int, seq), decode_votes(cast(bytes, state))
            except EntryError as error:
                log.warning("The votes in %s cannot be read (%s); they are folded anew.", self.path, error)
        return None

    def voted(self) -> list[tuple[bytes, int]]:
        """The logs whose votes are saved, and the sequence number up to which each was folded."""
        return [(cast(bytes, log_id), cast(int, seq)) for log_id, seq in self._rows("SELECT log, seq FROM votes")]

    def forget(self, hours_before_ms: int) -> None:
        """Forget hours before a time (Unix). Raises HistoryError."""
        try:
            with self._db:
                self._db.execute("DELETE FROM sums WHERE period_ms = ? AND start_ms < ?", (HOUR_MS, hours_before_ms))
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
        return self._observed(
            f"SELECT subject, start_ms, up_ms, down_ms FROM sums WHERE period_ms = {DAY_MS} "
            "AND start_ms >= ?1 AND start_ms < ?2 UNION ALL "
            f"SELECT subject, start_ms - start_ms % {DAY_MS}, up_ms, down_ms FROM sums AS hour WHERE period_ms = {HOUR_MS} "
            "AND start_ms >= ?1 AND start_ms < ?2 AND NOT EXISTS (SELECT 1 FROM sums AS day WHERE day.subject = hour.subject "
            f"AND day.period_ms = {DAY_MS} AND day.start_ms = hour.start_ms - hour.start_ms % {DAY_MS})",
            DAY_MS,
            first_ms,
            end_ms,
        )

    def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]:
        """(key, check, start) of each signed day from `first_ms` to before `end_ms`."""
        rows = self._rows(
            "SELECT public_key, name, start_ms FROM sums JOIN subject ON subject.no = sums.subject "
            "WHERE period_ms = ? AND start_ms >= ? AND start_ms < ?",
            (DAY_MS, first_ms, end_ms),
        )
        return {(cast(bytes, key), cast(str, name), cast(int, start_ms)) for key, name, start_ms in rows}

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
            for bucket, number in self._sums(columns).histogram.items():
                into[bucket] = into.get(bucket, 0) + number
        return found

    def dump(self) -> list[tuple[object, ...]]:
        """Everything that was derived, in an order that does not depend on how it came about."""
        return [
            *self._rows(
                "SELECT public_key, name, period_ms, start_ms, up_ms, down_ms, columns FROM sums "
                "JOIN subject ON subject.no = sums.subject ORDER BY public_key, name, period_ms, start_ms"
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
        place = (number, signed.period_ms, signed.start_ms)
        held = list(
            self._rows(
                "SELECT CAST(columns AS BLOB) FROM sums WHERE subject = ? AND period_ms = ? AND start_ms = ?", place
            )
        )
        sums = self._sums(held[0][0]) if held else Sums()
        sums.add(signed.sums)
        self._db.execute(
            "INSERT OR REPLACE INTO sums (subject, period_ms, start_ms, up_ms, down_ms, columns) VALUES (?, ?, ?, ?, ?, ?)",
            (*place, sums.up_ms, sums.down_ms, encode(sums.columns())),
        )

    def _sums(self, columns: object) -> Sums:
        try:
            return read_sums(decode(cast(bytes, columns)))
        except (EntryError, TypeError) as error:
            raise HistoryError(f"{self.path} is damaged: {error}.") from error

    def _rows(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
        try:
            yield from self._db.execute(sql, cast(tuple[int, ...], bindings))
        except apsw.Error as error:
            raise HistoryError(f"{self.path} could not be read: {error}.") from error


def open_history(path: Path, heads: Mapping[bytes, int]) -> HistoryStore:
    """`view.db`, made anew if it cannot be used. Raises HistoryError if that is not possible either.

    `heads` are the sequence numbers up to which the logs are held: what was folded beyond them was of another store.
    """
    try:
        store = HistoryStore(path)
        folded = {log_id: each.applied_seq for log_id, each in store.load(b"").logs.items()}
        for log_id, seq in [*folded.items(), *store.voted()]:
            if seq > heads.get(log_id, -1):
                store.close()
                raise HistoryError(f"{path} tells of entries that the store does not hold.")
    except HistoryError as error:
        log.warning("%s It is derived from the logs and made anew.", error)
        return make_anew(path)
    return store


def make_anew(path: Path) -> HistoryStore:
    """An empty `view.db` in the place of whatever is there. Raises HistoryError."""
    for suffix in ("", "-wal", "-shm"):
        try:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise HistoryError(f"{path}{suffix} cannot be removed: {error.strerror}.") from error
    return HistoryStore(path)


def _state(folded: LogHistory) -> Value:
    open_: list[Value] = [[hour, _named_sums(rows)] for hour, rows in sorted(folded.open.items())]
    last: list[Value] = [[name, *moment] for name, moment in sorted(folded.last.items())]
    slots: list[Value] = [
        [slot, [[name, *spans] for name, spans in sorted(rows.items())]] for slot, rows in sorted(folded.slots.items())
    ]
    undayed: list[Value] = [[day, _named_sums(rows)] for day, rows in sorted(folded.undayed.items())]
    return [open_, last, slots, undayed]


def _read_state(folded: LogHistory, value: Value) -> None:
    many = 2**32
    fields = Fields(value, "the state")
    for each in fields.array("open hours", many):
        hour = Fields(each, "an hour")
        number = hour.uint("hour", many)
        folded.open[number] = dict(map(read_row, hour.array("rows", many)))
    for each in fields.array("moments", many):
        moment = Fields(each, "a moment")
        name = moment.text("name")
        folded.last[name] = Moment(moment.octets("boot", 8), moment.uint("up time", 2**53))
    for each in fields.array("slots", many):
        slot = Fields(each, "a slot")
        rows = folded.slots.setdefault(slot.uint("slot", many), {})
        for row in slot.array("rows", many):
            spans = Fields(row, "a row")
            name = spans.text("name")
            rows[name] = [spans.uint("up", 2**53), spans.uint("down", 2**53)]
    for each in fields.array("undayed", many):
        day = Fields(each, "a day")
        number = day.uint("day", many)
        folded.undayed[number] = dict(map(read_row, day.array("rows", many)))


def _named_sums(rows: Mapping[str, Sums]) -> Value:
    return [[name, *sums.columns()] for name, sums in sorted(rows.items())]
