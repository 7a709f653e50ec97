"""The diagnostic log: lines on standard error, as text or as JSON, and never too many.

Guarantees: of one kind of line (one logger and one message, whatever its arguments) at most LOG_LINES_PER_MINUTE_MAX come in
a minute; the others are counted, and a line says how many they were. Of what libraries say, a logger is a kind, for they
put their arguments into the message. So a day in which everything fails is a few megabytes.

Transitions are told, states are not: what fails every minute is in the results, not here. With `-vv` nothing is held back.
Of an exception its type and its place are told, never its text, which may quote what a target or a person sent.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

from demesh import limits

Format = Literal["text", "json"]

STATISTICS = "demesh.statistics"
"""The logger that is heard without -v."""

_MINUTE_MS = 60_000
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_SYSLOG_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


@dataclass(slots=True)
class _Kind:
    """One kind's present minute: when it began, the lines let through, and those held back."""

    began_ms: int
    passed: int = 0
    held: int = 0


class Limiter:
    """Decides which lines may pass. Pure: told the time, monotonic."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def passes(self, kind: tuple[str, str], now_ms: int) -> bool:
        """Whether a line of this kind may pass now; it counts."""
        found = self._kinds.get(kind)
        if found is None:
            # Beyond the bound all new kinds share one.
            key = kind if len(self._kinds) < limits.LOG_KINDS_MAX else ("", "")
            found = self._kinds.setdefault(key, _Kind(now_ms))
        if found.passed >= limits.LOG_LINES_PER_MINUTE_MAX:
            found.held += 1
            return False
        found.passed += 1
        return True

    def ended(self, now_ms: int) -> Iterator[tuple[tuple[str, str], int]]:
        """Forget the minutes that are over; those in which lines were held back, and how many."""
        for key, kind in list(self._kinds.items()):
            if now_ms - kind.began_ms >= _MINUTE_MS:
                del self._kinds[key]
                if kind.held:
                    yield key, kind.held


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream what a `Limiter` lets pass, and statistics."""

    def __init__(self, stream: TextIO, monotonic_ms: Callable[[], int]) -> None:
        super().__init__(stream)
        self._limiter = Limiter()
        self._monotonic_ms = monotonic_ms

    def emit(self, record: logging.LogRecord) -> None:
        now_ms = self._monotonic_ms()
        for (logger, message), held in self._limiter.ended(now_ms):
            super().emit(_held_back(logger, message, held))
        if record.name == STATISTICS or self._limiter.passes(_kind(record), now_ms):
            super().emit(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what was given as `extra`, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        said |= {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS and key not in said}
        if record.exc_info:
            said["exception"] = _trace(record)
        return json.dumps(said, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line with the time; for systemd's journal with the level in its notation instead, for it knows the time itself."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname} {record.name}: {_message(record)}"
        if record.exc_info:
            text = f"{text}\n{_trace(record)}"
        if not self._journal:
            return f"{_time(record)} {text}"
        level = next(level for least, level in _SYSLOG_LEVELS if record.levelno >= least)
        return "\n".join(f"<{level}>{line}" for line in text.splitlines())


def set_up_logging(
    verbose: int,
    form: Format,
    monotonic_ms: Callable[[], int],
    stream: TextIO | None = None,
    *,
    statistics: bool = False,
) -> None:
    """Log to `stream` (standard error): of demesh warnings, with `verbose` 1 also information, with 2 everything."""
    target: TextIO = stream or sys.stderr
    handler = logging.StreamHandler(target) if verbose > 1 else LimitedHandler(target, monotonic_ms)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(journal=_is_journal(target)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("demesh").setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    logging.getLogger(STATISTICS).setLevel(logging.INFO if statistics else logging.WARNING)


def _kind(record: logging.LogRecord) -> tuple[str, str]:
    ours = record.name == "demesh" or record.name.startswith("demesh.")
    return record.name, record.msg if ours and isinstance(record.msg, str) else ""


def _held_back(logger: str, message: str, held: int) -> logging.LogRecord:
    what = f" like {message!r}" if message else ""
    record = logging.LogRecord(
        logger or "demesh", logging.WARNING, "", 0, "%d more lines%s were held back.", (held, what), None
    )
    record.held_back = held
    return record


def _message(record: logging.LogRecord) -> str:
    """The message on one line, without control characters and of bounded length: parts of it may come from others."""
    text = "".join(char if char.isprintable() else " " for char in record.getMessage())
    return text if len(text) <= limits.LOG_MESSAGE_CHARS_MAX else text[: limits.LOG_MESSAGE_CHARS_MAX - 1] + "…"


def _trace(record: logging.LogRecord) -> str:
    """Where an exception came from and its type."""
    kind, _, place = record.exc_info or (None, None, None)
    return "".join(traceback.format_tb(place)) + (kind.__name__ if kind else "")


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd says that `stream` goes to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
