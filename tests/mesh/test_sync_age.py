"""What a node hands out of its own log in a sync session is as old as it is, not as old as the session."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh.log.codec import Value, decode, encode
from demesh.log.entry import Entry
from demesh.log.taken import Taken
from demesh.mesh.intake import Intake
from demesh.mesh.sync_puller import Puller
from demesh.mesh.sync_server import Server
from demesh.view.presence import Presence
from tests.cluster import Mesh, running
from tests.log.builders import MESH, NEXT_MS, Pen

_FLUSH_SECONDS = 60
_SILENT_SECONDS = 2 * _FLUSH_SECONDS + 5 + 10
_PEN = Pen("ann")
_PEN.fill(2)
_HEAD = _PEN.entries[-1]


@pytest.mark.trio
async def test_silence_counts_from_when_the_last_entry_was_made_though_sync_brought_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mesh = Mesh(tmp_path)
    mesh.swarm.lossy = True
    ann, ben = (mesh.member(owner, flush_seconds=_FLUSH_SECONDS) for owner in ("ann", "ben"))
    async with running(ann, ben):
        await trio.sleep(_FLUSH_SECONDS - 10)
        mesh.connect(ann, ben)
        await trio.sleep(1)
        assert ben.presence_of(ann) == Presence.ALIVE
        mesh.forget(ann)
        await trio.sleep_until(_SILENT_SECONDS - 1)
        assert ben.presence_of(ann) == Presence.SUSPECT
        await trio.sleep_until(_SILENT_SECONDS + 2)
        assert ben.presence_of(ann) == Presence.SILENT


@pytest.mark.trio
async def test_a_head_that_is_older_than_it_promised_is_no_sign_of_life(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """As that of a node that stood still, and has not written since."""
    mesh = Mesh(tmp_path)
    mesh.swarm.lossy = True
    ann, ben = (mesh.member(owner, flush_seconds=_FLUSH_SECONDS) for owner in ("ann", "ben"))
    async with running(ann, ben):
        ann.storage.gate = trio.Event()
        await trio.sleep(_SILENT_SECONDS)
        mesh.connect(ann, ben)
        await trio.sleep(1)
        known = ben.node.view.member(ann.key)
        assert known is not None
        heard_of_the_old_head = known.heard
        ann.storage.gate.set()
        assert not heard_of_the_old_head
        await trio.sleep(40)
        assert known.heard


def _greeted(*last: Value) -> Puller:
    """A puller greeted by the author of `_HEAD`, at the end of whose greeting stands `last`."""
    puller = Puller(MESH, [])
    server = Server(MESH, [], _PEN.log, 0)
    (hello,) = server.greet(puller.hello())
    fields = decode(hello)
    assert isinstance(fields, list)
    puller.greeted(encode([*fields[:4], *last]))
    return puller


def test_a_server_that_does_not_say_its_up_time_has_just_written_its_head() -> None:
    assert _greeted().age_ms(_HEAD) == _greeted(_PEN.log).age_ms(_HEAD) == 0


def test_a_server_that_says_its_up_time_tells_how_old_its_head_is() -> None:
    assert _greeted(_PEN.log, _HEAD.up_ms + NEXT_MS).age_ms(_HEAD) == NEXT_MS
    assert _greeted(_PEN.log, _HEAD.up_ms - 1).age_ms(_HEAD) == 0, "nothing comes from the future"


@pytest.mark.trio
async def test_a_peer_that_names_anothers_log_as_its_own_dates_nothing_in_it(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever is slow on purpose could make a third one look older, and then silent."""
    mesh = Mesh(tmp_path)
    mesh.swarm.lossy = True
    ann, ben, eve = (mesh.member(owner, flush_seconds=_FLUSH_SECONDS) for owner in ("ann", "ben", "eve"))
    received: dict[bytes, set[float]] = {}
    take = Intake.take

    async def noting(intake: Intake, entries: Sequence[Entry], received_ms: int, *rest: Any, **named: Any) -> Taken:
        if intake is ben.node._intake:
            age_s = trio.current_time() - received_ms / 1_000
            received.setdefault(entries[0].log, set()).add(round(age_s))
        return await take(intake, entries, received_ms, *rest, **named)

    monkeypatch.setattr(Intake, "take", noting)
    async with running(ann, ben, eve):
        mesh.connect(ann, eve)
        await trio.sleep(_FLUSH_SECONDS - 10)
        (anns,) = (each.log for each in ann.node.logs.states() if each.public_key == ann.key)
        eve.node.logs.writes = anns
        mesh.connect(eve, ben)
        await trio.sleep(1)
        assert received[anns] == {0}
