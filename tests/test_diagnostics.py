"""The diagnostic log: its forms, and that it cannot grow without bound."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from demesh import limits
from demesh.diagnostics import STATISTICS, Format, Limiter, set_up_logging

_DAY_MS = 86_400_000
_KIND = ("demesh.node", "Incident %s")


class _Log:
    """The diagnostic log of a node on a clock of the test's own."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.stream = io.StringIO()

    def start(self, verbose: int = 0, form: Format = "text", *, statistics: bool = False) -> "_Log":
        set_up_logging(verbose, form, lambda: self.now_ms, self.stream, statistics=statistics)
        return self

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[_Log]:
    root, ours, stats = logging.getLogger(), logging.getLogger("demesh"), logging.getLogger(STATISTICS)
    before = root.handlers[:], root.level, ours.level, stats.level
    root.handlers = []
    yield _Log()
    root.handlers[:] = before[0]
    for logger, level in zip((root, ours, stats), before[1:], strict=True):
        logger.setLevel(level)


def test_so_many_lines_of_a_kind_pass_in_a_minute_and_the_others_are_counted() -> None:
    limiter = Limiter()
    passed = [limiter.passes(_KIND, now_ms) for now_ms in range(0, 60_000, 1_000)]
    assert passed == [True] * limits.LOG_LINES_PER_MINUTE_MAX + [False] * (60 - limits.LOG_LINES_PER_MINUTE_MAX)
    assert list(limiter.ended(59_999)) == []
    assert list(limiter.ended(60_000)) == [(_KIND, 60 - limits.LOG_LINES_PER_MINUTE_MAX)]
    assert limiter.passes(_KIND, 60_000)


def test_one_kind_does_not_hold_back_another() -> None:
    limiter = Limiter()
    while limiter.passes(_KIND, 0):
        pass
    assert limiter.passes(("demesh.node", "another"), 0)
    assert limiter.passes(("demesh.mesh", _KIND[1]), 0)


def test_kinds_are_bounded() -> None:
    limiter = Limiter()
    passed = sum(limiter.passes(("x", str(i)), 0) for i in range(100_000))
    assert passed <= limits.LOG_KINDS_MAX + limits.LOG_LINES_PER_MINUTE_MAX


def test_what_was_held_back_is_said_with_the_next_line_of_any_kind(log: _Log) -> None:
    log.start()
    for place in range(100):
        logging.getLogger("demesh.checks").warning("The check %s failed", place)
    log.now_ms = 60_000
    logging.getLogger("demesh.node").warning("Something else")
    assert len(log.lines) == limits.LOG_LINES_PER_MINUTE_MAX + 2
    assert log.lines[-2].endswith("demesh.checks: 90 more lines like 'The check %s failed' were held back.")


def test_a_day_in_which_a_thousand_checks_fail_is_less_than_ten_megabytes(log: _Log) -> None:
    """Every check fails every minute in two ways, and opens and closes an incident each time."""
    log.start()
    checks = logging.getLogger("demesh.checks.runner")
    node = logging.getLogger("demesh.node")
    for log.now_ms in range(0, _DAY_MS, 60_000):
        for check in range(0, 1_000, 5):  # the others of each minute are held back alike
            checks.warning("The %s probe of check %r failed: %s", "http", f"https://host{check}.example.org", "OSError")
            node.warning("Incident %s: %s %s", "opened", "DemeshCheckDown", f"https://host{check}.example.org")
            node.warning("Incident %s: %s %s", "closed", "DemeshCheckDown", f"https://host{check}.example.org")
            logging.getLogger("elsewhere").error(f"a library that formats {check} itself")  # noqa: G004
    assert 0 < log.stream.tell() < 10_000_000
    print(f"{log.stream.tell() / 1e6:.1f} MB")


def test_libraries_that_format_themselves_are_one_kind(log: _Log) -> None:
    log.start()
    for place in range(100):
        logging.getLogger("hypercorn").error(f"failed {place}")  # noqa: G004
    assert len(log.lines) == limits.LOG_LINES_PER_MINUTE_MAX


def test_levels_are_warnings_information_everything(log: _Log) -> None:
    def say() -> int:
        before = len(log.lines)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("demesh.x").log(level, "said at %s", level)
        return len(log.lines) - before

    said: list[int] = []
    for verbose in range(4):
        log.now_ms += 60_000
        log.start(verbose)
        said.append(say())
    assert said == [1, 2, 3, 3]


def test_with_everything_nothing_is_held_back(log: _Log) -> None:
    log.start(verbose=2)
    for _ in range(100):
        logging.getLogger("demesh.x").warning("again")
    assert len(log.lines) == 100


def test_statistics_are_heard_without_v_and_never_held_back(log: _Log) -> None:
    log.start()
    logging.getLogger(STATISTICS).info("1 check")
    assert log.lines == []
    log.start(statistics=True)
    for _ in range(100):
        logging.getLogger(STATISTICS).info("1 check")
    assert len(log.lines) == 100


def test_json_has_time_level_logger_message_and_fields(log: _Log) -> None:
    log.start(form="json")
    logging.getLogger("demesh.node").warning("Incident %s", "ö", extra={"check": "web", "since_ms": 7})
    (line,) = log.lines
    said = json.loads(line)
    time = said.pop("time")
    assert time.endswith("Z")
    assert len(time) == len("2026-01-01T00:00:00.000Z")
    assert said == {"level": "warning", "logger": "demesh.node", "message": "Incident ö", "check": "web", "since_ms": 7}


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_one_line_without_control_characters_and_of_bounded_length(form: Format, log: _Log) -> None:
    log.start(form=form)
    logging.getLogger("demesh.x").warning("a\nb\x1b[31mc\u2028%s", "x" * 10_000)
    (line,) = log.lines
    assert "\x1b" not in line
    assert len(line) < limits.LOG_MESSAGE_CHARS_MAX + 200


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_an_exception_type_and_place_are_told_and_not_its_text(form: Format, log: _Log) -> None:
    log.start(form=form)
    try:
        raise ValueError("sesame")
    except ValueError:
        logging.getLogger("demesh.x").exception("It failed")
    said = log.stream.getvalue()
    assert "ValueError" in said
    assert "test_diagnostics.py" in said
    assert '"sesame' not in said.replace('raise ValueError("sesame")', "").replace('raise ValueError(\\"sesame\\")', "")


def test_the_journal_gets_levels_in_its_own_notation(
    tmp_path: Path, log: _Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        set_up_logging(0, "text", lambda: 0, journal)
        logging.getLogger("demesh.x").warning("careful")
        logging.getLogger("demesh.x").error("worse")
        journal.seek(0)
        assert journal.read() == "<4>WARNING demesh.x: careful\n<3>ERROR demesh.x: worse\n"
