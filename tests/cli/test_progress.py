"""Who waits at a terminal is told how far it is; nobody else is told anything."""

import sys
from pathlib import Path

import pytest

from demesh.cli import progress
from tests.log.builders import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(progress, "SystemClock", lambda: clock)
    return clock


def _count(clock: FakeClock, ms_each: int) -> list[int]:
    told = progress.Progress(1_000, "entry", "entries")
    found: list[int] = []
    for item in told.through(iter(range(1_000))):
        clock.now_ms += ms_each
        found.append(item)
    told.end()
    return found


@pytest.mark.parametrize(
    ("terminal", "ms_each", "said"), [(True, 10, "768 of 1000 entries"), (True, 1, ""), (False, 10, "")]
)
def test_only_a_long_wait_at_a_terminal_is_told(
    clock: FakeClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    ms_each: int,
    said: str,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert _count(clock, ms_each) == list(range(1_000))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (said in shown.err) if said else shown.err == ""


@pytest.mark.parametrize(
    ("size", "terminal", "told"), [(200_000_000, True, True), (1_000, True, False), (200_000_000, False, False)]
)
def test_a_large_file_is_announced(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    terminal: bool,
    told: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    path = tmp_path / "log.db"
    with path.open("wb") as file:
        file.truncate(size)
    progress.announce("Copying", path)
    assert (f"Copying {path} (200 MB)" in capsys.readouterr().err) == told
