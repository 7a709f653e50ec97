"""What is shown of logs as they come in, and when."""

from collections.abc import Sequence

import pytest
import trio

from demesh import limits
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.evidence import proof_of
from demesh.log.state import LogState
from demesh.mesh.intake import Intake
from demesh.mesh.preview import Preview
from demesh.mesh.showing import Shown
from tests.log.builders import (
    MESH,
    NO_LOG,
    DirectStorage,
    FakeClock,
    key_of,
    log_of,
    public_key_of,
    rewritten,
)

_ANN = log_of("ann", 60)
_LOG, _A = _ANN[0].log, public_key_of("ann")


class _Door:
    """An intake, and what it showed: places of entries, and what was done with them."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []
        self.logs = Logs(MESH, NO_LOG)
        shown = Shown(
            lambda owner, entry, received_ms, first_hand: self.said.append(("accepted", entry.seq)),
            self._load,
            lambda owner, entry, received_ms, first_hand: self.said.append(("heard", entry.seq)),
            lambda preview, received_ms, first_hand: self.said.append(("preview", preview.newest.seq)),
            lambda log: self.said.append(("withdrawn", -1)),
        )
        storage, clock = DirectStorage(), FakeClock()
        self.intake = Intake(
            self.logs, storage, clock, MESH, shown, lambda logs: None, lambda *_: None, self._end, lambda log: None
        )

    async def _load(self, state: LogState) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(("loaded", state.head.seq))

    async def _end(self, state: LogState) -> None:
        await trio.lowlevel.checkpoint()

    async def take(self, entries: Sequence[Entry], held_seq: int = -1) -> list[tuple[str, int]]:
        self.said.clear()
        await self.intake.take(entries, 0, lambda entry, owner: False, held_seq=held_seq)
        return list(self.said)

    async def preview(self, first: int, last: int) -> list[tuple[str, int]]:
        self.said.clear()
        preview = Preview(_LOG, _A, (_ANN[0], *_ANN[first : last + 1]))
        await self.intake.preview(preview, b"ben", 0, lambda entry, owner: False)
        return list(self.said)


@pytest.fixture(autouse=True)
def short_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHOWN_BEHIND_MAX", 20)


@pytest.mark.trio
async def test_near_its_end_each_entry_of_a_log_is_shown() -> None:
    door = _Door()
    assert await door.take(_ANN[:3], held_seq=19) == [("accepted", 0), ("accepted", 1), ("accepted", 2)]
    assert await door.take(_ANN[3:5]) == [("accepted", 3), ("accepted", 4)]


@pytest.mark.trio
async def test_far_from_its_end_nothing_is_shown_until_that_has_come() -> None:
    door = _Door()
    assert await door.take(_ANN[:30], held_seq=49) == []
    assert await door.take(_ANN[30:45], held_seq=49) == []
    assert await door.take(_ANN[45:50], held_seq=49) == [("loaded", 49), ("heard", 49)]
    assert await door.take(_ANN[50:52]) == [("accepted", 50), ("accepted", 51)]


@pytest.mark.trio
async def test_what_broke_off_is_shown_as_far_as_it_came() -> None:
    door = _Door()
    await door.take(_ANN[:30], held_seq=49)
    await door.intake.show_rest()
    assert door.said == [("loaded", 29)]
    await door.intake.show_rest()
    assert door.said == [("loaded", 29)]


@pytest.mark.trio
async def test_nothing_from_before_a_preview_is_shown_until_the_log_has_come_as_far() -> None:
    door = _Door()
    assert await door.preview(40, 49) == [("preview", 49)]
    assert await door.take(_ANN[:45], held_seq=44) == []
    await door.intake.show_rest()
    assert door.said == []
    assert await door.take(_ANN[50:52]) == [("accepted", 50), ("accepted", 51)], "gossip goes on from the preview"
    assert await door.take(_ANN[45:50], held_seq=49) == [], "it reaches further now"
    assert await door.take(_ANN[50:53]) == [("loaded", 52), ("heard", 52)]
    assert door.intake.previewed_to(_LOG) == -1


@pytest.mark.trio
async def test_a_preview_goes_with_its_peer() -> None:
    door = _Door()
    await door.preview(40, 49)
    await door.intake.lost(b"cid")
    assert door.intake.previewed_to(_LOG) == 49
    await door.intake.lost(b"ben")
    assert door.said == [("preview", 49), ("withdrawn", -1)]
    await door.preview(40, 49)
    await door.take(_ANN[:30], held_seq=49)
    await door.intake.lost(b"ben")
    assert door.said == [("loaded", 29)]


@pytest.mark.trio
async def test_a_preview_of_what_is_held_is_none() -> None:
    door = _Door()
    await door.take(_ANN[:50])
    assert await door.preview(40, 49) == []


@pytest.mark.trio
async def test_a_preview_of_a_log_that_turns_out_to_be_forked_goes() -> None:
    door = _Door()
    await door.take(_ANN[:10], held_seq=49)
    await door.preview(40, 49)
    other = rewritten(_ANN[9], key_of("ann"))
    assert await door.intake.prove(proof_of(_ANN[9:10], [other]))
    assert door.intake.previewed_to(_LOG) == -1
    assert await door.preview(40, 49) == []


@pytest.mark.trio
async def test_a_preview_is_not_thrown_back_by_the_few_entries_before_it() -> None:
    door = _Door()
    await door.take(_ANN[:41])
    await door.preview(43, 49)
    assert await door.take(_ANN[41:45], held_seq=49) == []
    assert await door.take(_ANN[45:50], held_seq=49) == [("loaded", 49), ("heard", 49)]


@pytest.mark.trio
async def test_what_a_preview_shows_is_alive_once_its_author_says_so() -> None:
    door = _Door()
    await door.preview(40, 49)
    door.said.clear()
    preview = Preview(_LOG, _A, tuple(_ANN[40:50]))
    await door.intake.preview(preview, b"ann", 0, lambda entry, owner: True)
    assert door.said == [("heard", 49)]
