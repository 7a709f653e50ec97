"""Two changes of one file, made so that the second begins when the first has read what it is about to replace."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_SECONDS_MAX = 60


def at_once(monkeypatch: pytest.MonkeyPatch, first: Callable[[], object], second: Callable[[], object]) -> None:
    """Run `first`; in the moment in which it replaces a file, run `second` until it is done, or waits."""
    met = threading.Event()
    replace, sleep = Path.replace, time.sleep
    failed: list[BaseException] = []

    def run() -> None:
        try:
            second()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        finally:
            met.set()

    other = threading.Thread(target=run)

    def replaced(self: Path, target: Path) -> Path:
        if not other.ident:
            other.start()
            assert met.wait(_SECONDS_MAX)
        return replace(self, target)

    def waits(seconds: float) -> None:
        met.set()
        sleep(seconds)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(time, "sleep", waits)
    first()
    other.join(_SECONDS_MAX)
    assert other.ident
    assert not other.is_alive()
    if failed:
        raise failed[0]
