"""A start on a store with one flipped bit opens it, or refuses it in a sentence. Never is it a traceback.

If the node's own log goes on, it begins with its hello and ends as it did; else a new epoch begins.
"""

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from demesh.errors import StoreError
from demesh.log.codec import values
from demesh.log.entry import BadRow, Entry, Kind
from demesh.log.epoch import Continue, Marker, NewEpoch
from demesh.log.hello import read_hello
from demesh.log.plan import split_plan
from demesh.log.store import Store
from demesh.log.store_rows import stored_body
from demesh.opening import Opened, open_logs
from demesh.view.history_store import HistoryStore
from tests.in_memory import directory_in_memory
from tests.log.builders import BOOT8, MESH, FakeClock, Pen, log_of, public_key_of, put
from tests.view.build import row

_UNUSED_STEP = 64
_PATTERNS = (0x01, 0x80, 0xFF, 0x10)


@pytest.fixture
def directory() -> Generator[Path]:
    """Where a store may lie: thousands of them are opened."""
    with directory_in_memory() as found:
        yield found


def _with_a_plan() -> list[Entry]:
    pen = Pen("ann")
    pen.hello()
    pen.write(Kind.PLAN, split_plan([row("web")])[0].payload())
    pen.fill(4)
    pen.write(Kind.CHECKPOINT, values([]))
    return pen.fill(7)


_OWN, _BOB = _with_a_plan(), log_of("bob", 3)


def _write(path: Path) -> bytes:
    with Store(path, mesh_id=MESH) as store:
        put(store, _BOB)
        put(store, _OWN, own=True)
    return path.read_bytes()


def _open(store: Store, kept: HistoryStore, published: Entry = _OWN[-1]) -> Opened:
    """A start on the same boot, the same file, with the last entry `published`: nothing but damage ends the own log."""
    marker = Marker(BOOT8, store.file_identity(), published.log, published.head)
    return open_logs(public_key_of("ann"), FakeClock(), store, kept, marker, "")


def _outcome(path: Path, kept: HistoryStore) -> str:
    """What became of a start; fails unless it is one of what may be."""
    try:
        with Store(path, mesh_id=MESH) as store:
            opened = _open(store, kept)
            rows = list(store.each(_OWN[0].log))
    except StoreError:
        return "refused"
    if isinstance(opened.decision, NewEpoch):
        return "new epoch"
    assert opened.decision == Continue(_OWN[0].log, _OWN[-1].head)
    assert opened.hello is not None
    assert isinstance(rows[0], Entry)
    assert read_hello(rows[0]).log == _OWN[0].log
    return "passed over" if any(isinstance(each, BadRow) for each in rows) else "same"


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_start_on_a_flipped_bit_is_never_a_traceback(directory: Path, step: int) -> None:
    path = directory / "log.db"
    whole = _write(path)
    outcomes: Counter[str] = Counter()
    with HistoryStore(directory / "view.db") as kept:
        for at in (at for at in range(0, len(whole), step) if whole[at] or at % _UNUSED_STEP == 0):
            flipped = bytearray(whole)
            flipped[at] ^= _PATTERNS[at // step % len(_PATTERNS)]
            for left in directory.glob("log.db*"):
                left.unlink()
            path.write_bytes(flipped)
            try:
                outcomes[_outcome(path, kept)] += 1
            except Exception as error:
                raise AssertionError(f"byte {at}, {whole[at]:#x} -> {flipped[at]:#x}") from error
    print(f"{sum(outcomes.values())} flips: {dict(outcomes)}")
    assert set(outcomes) == {"same", "passed over", "new epoch", "refused"}


@pytest.mark.parametrize("again", [False, True], ids=["one hello", "a later hello"])
@pytest.mark.parametrize("offset", range(0, len(stored_body(_OWN[0])), 16))
def test_own_log_whose_hello_is_damaged_gives_way_to_a_new_epoch(directory: Path, offset: int, again: bool) -> None:
    path = directory / "log.db"
    pen = Pen("ann")
    own = pen.fill(3)
    if again:
        pen.hello()
        own = pen.fill(5)
    with Store(path, mesh_id=MESH) as store:
        put(store, own, own=True)
    flipped = bytearray(path.read_bytes())
    flipped[flipped.index(stored_body(own[0])) + offset] ^= 1
    path.write_bytes(flipped)
    with Store(path, mesh_id=MESH) as store, HistoryStore(directory / "view.db") as kept:
        opened = _open(store, kept, own[-1])
    assert isinstance(opened.decision, NewEpoch)
    assert opened.decision.previous == (own[0].log, own[-1].head)
