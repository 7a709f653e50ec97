"""After a restart without a marker the members say whether a node's log goes on; whatever was rolled back never contradicts."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from demesh.log.entry import Entry, Kind
from demesh.log.hello import read_hello
from tests.cluster import Member, Mesh, running
from tests.log.builders import counted

pytestmark = pytest.mark.trio


def _hellos(member: Member) -> int:
    """How many epochs there are in its store, by the logs of its own."""
    return sum(each.public_key == member.key for each in member.node.logs.states())


def _bodies(*members: Member) -> dict[tuple[bytes, int], set[bytes]]:
    """Every body that any of them holds, by its place."""
    found: dict[tuple[bytes, int], set[bytes]] = {}
    for member in members:
        for state in member.node.logs.states():
            for entry in member.store.each(state.log):
                assert isinstance(entry, Entry)
                found.setdefault((entry.log, entry.seq), set()).add(entry.body)
    return found


async def _meet(mesh: Mesh, members: Sequence[Member], seconds: float = 5) -> None:
    mesh.connect(*members)
    await trio.sleep(seconds)


async def test_rebooted_node_goes_on_in_its_log_when_its_members_know_no_more(
    autojump_clock: MockClock,
    mesh: Mesh,
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    async with running(ben, cat):
        async with running(ann):
            await _meet(mesh, (ann, ben, cat))
        ann.marker = None
        mesh.forget(ann)
        for _ in range(3):
            ann.meets = [ben, cat]
            async with running(ann):
                await trio.sleep(3)
                assert _hellos(ann) == 1
                assert [entry.kind for entry in ann.own_log()].count(Kind.HELLO) == 1
                assert all(len(bodies) == 1 for bodies in _bodies(ann, ben, cat).values())
            ann.marker = None
            mesh.forget(ann)


async def test_rebooted_node_waits_no_longer_than_five_seconds_for_those_that_do_not_answer(
    autojump_clock: MockClock,
    mesh: Mesh,
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    async with running(ben, cat):
        async with running(ann):
            await _meet(mesh, (ann, ben, cat))
        ann.marker = None
        mesh.forget(ann)
        ann.meets = [ben]  # one of two is no majority
        began = trio.current_time()
        async with running(ann):
            assert trio.current_time() - began == pytest.approx(5, abs=0.5)
            assert _hellos(ann) == 2


async def test_rolled_back_disk_begins_a_new_epoch_and_gets_back_what_it_had_lost(
    autojump_clock: MockClock,
    mesh: Mesh,
) -> None:
    ann, ben = (mesh.member(owner) for owner in ("ann", "ben"))
    async with running(ben):
        async with running(ann):
            await _meet(mesh, (ann, ben))
        mesh.forget(ann)
        before = ann.snapshot()
        ann.meets = [ben]
        async with running(ann):
            await trio.sleep(20)
            lost = ann.own_log()[-1]
        mesh.forget(ann)
        ann.roll_back(before)
        async with running(ann):
            await trio.sleep(60)
            assert _hellos(ann) == 2
            held = ann.node.logs.get(lost.log)
            assert held is not None
            assert held.head.seq >= lost.seq, "peers send what the disk had forgotten"
            assert read_hello(ann.own_log()[0]).previous is not None
            assert all(len(bodies) == 1 for bodies in _bodies(ann, ben).values())
            assert ann.incidents() == ben.incidents() == []


async def test_log_ends_as_soon_as_a_peer_shows_that_it_was_rolled_back_unnoticed(
    autojump_clock: MockClock,
    mesh: Mesh,
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    async with running(ben, cat):
        async with running(ann):
            await _meet(mesh, (ann, cat))
        mesh.forget(ann)
        before = ann.snapshot()
        ann.meets = [ben]
        async with running(ann):  # ben was not known to the older disk, and only ben hears of what follows
            await trio.sleep(20)
        mesh.forget(ann)
        ann.roll_back(before)
        ann.meets = [cat]
        refused = counted("demesh_refused_total", room="chain", reason="own_log_contradicted")
        async with running(ann):
            await trio.sleep(3)
            assert _hellos(ann) == 1, "all that it knows of agree"
            mesh.connect(ann, ben)
            await trio.sleep(3)
            assert _hellos(ann) == 2
            assert counted("demesh_refused_total", room="chain", reason="own_log_contradicted") == refused + 1
            seq = len(ann.own_log())
            await trio.sleep(10)
            assert len(ann.own_log()) > seq, "it goes on in the new epoch"
            assert _hellos(ann) == 2
