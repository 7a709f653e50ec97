"""A new swarm key goes from member to member until all have it, whoever is connected to whom."""

from pathlib import Path

import pytest
import trio

from demesh.errors import UsageError
from demesh.identity import SwarmKey, read_swarm_key, write_secret
from demesh.mesh import rotation as rotations
from demesh.mesh.key_change import Change
from tests.log.builders import counted
from tests.mesh.rotating import MINUTE, OLD, all_changed, swarm_in

pytestmark = pytest.mark.trio


async def test_the_new_key_goes_along_a_chain_and_the_old_one_is_dropped_at_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, c, d = swarm.add("a", "b", "c", "d")
        await a.rotation.begin()
        assert a.keys[1] == OLD
        new = await all_changed(a, b, c, d)
        assert new != OLD
        assert c.key not in a.offered


async def test_the_old_key_stays_as_long_as_somebody_is_missing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, c = swarm.add("a", "b", "c")
        c.stop()
        await a.rotation.begin()
        await trio.sleep(60 * MINUTE)
        assert [each.keys[1:] for each in (a, b)] == [(OLD,), (OLD,)]
        assert a.rotation.keys.change
        assert a.rotation.keys.change.missing() == {c.key}
        c.start()
        await all_changed(a, b, c)


async def test_finish_may_be_said_anywhere_and_drops_the_old_key(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, c, away = swarm.add("a", "b", "c", "away")
        away.stop()
        await a.rotation.begin()
        await trio.sleep(MINUTE)
        await c.rotation.finish()
        new = await all_changed(a, b, c)
        away.start()
        await trio.sleep(MINUTE)
        assert away.keys == (OLD,)
        assert new not in away.keys


async def test_who_is_left_out_or_not_trusted_or_came_later_is_never_offered_the_key(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, c = swarm.add("a", "b", "c")
        (out, denied) = swarm.add("out", "denied", linked=False)
        for each in (out, denied):
            swarm.links |= {frozenset({each.key, other.key}) for other in (a, b, c)}
        for each in (a, b, c):
            each.distrusted.add(denied.key)
        c.stop()  # so that it goes on
        await a.rotation.begin(frozenset({out.key}))
        (late,) = swarm.add("late")
        swarm.links |= {frozenset({late.key, other.key}) for other in (a, b)}
        await trio.sleep(5 * MINUTE)
        c.start()
        await all_changed(a, b, c)
        for each in (out, denied, late):
            assert each.keys == (OLD,)
            assert not any(each.key in other.offered for other in (a, b, c))


async def test_a_member_that_is_no_longer_trusted_does_not_keep_the_change_open(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, gone = swarm.add("a", "b", "gone")
        gone.stop()
        await a.rotation.begin()
        await trio.sleep(MINUTE)
        a.distrusted.add(gone.key)
        await all_changed(a, b)


async def test_killed_nodes_go_on_where_they_were(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, c = swarm.add("a", "b", "c")
        c.stop()
        await a.rotation.begin()
        await trio.sleep(MINUTE)
        for each in (a, b):
            each.stop()
        for each in (a, b, c):
            each.start()
        await all_changed(a, b, c)


async def test_of_two_changes_each_node_keeps_the_first_and_says_so(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b = swarm.add("a", "b", linked=False)
        await a.rotation.begin()
        await b.rotation.begin()
        swarm.links.add(frozenset({a.key, b.key}))
        await trio.sleep(5 * MINUTE)
        assert a.keys[0] != b.keys[0]
        assert a.keys[1:] == b.keys[1:] == (OLD,), "they are still connected"
        said = [each for each in caplog.messages if "another change of the swarm key is under way" in each]
        assert 1 <= len(said) <= 4
        assert not any(key.psk.hex() in caplog.text for each in (a, b) for key in each.keys)


async def test_a_stranger_cannot_give_a_key_nor_end_a_change(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, eve = swarm.add("a", "b", "eve")
        b.distrusted.add(eve.key)
        forged = Change(OLD.digest, SwarmKey(b"e" * 32), eve.key, frozenset({a.key, b.key, eve.key}), finished=True)
        before = counted("demesh_refused_total", room="key", reason="stranger")
        await eve.offer(b, forged)
        await trio.sleep(MINUTE)
        assert b.keys == (OLD,)
        assert counted("demesh_refused_total", room="key", reason="stranger") == before + 1


async def test_nonsense_costs_one_talk(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b = swarm.add("a", "b")
        for data in (b"", b"\x00\x00\x00\x01\x81", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\x81"):
            stream = await a.open_stream(b.key, rotations.PROTOCOL)
            await stream.send(data or b"\x00")
            await stream.close()
        await trio.sleep(MINUTE)
        await a.rotation.begin()
        await all_changed(a, b)


async def test_a_key_that_cannot_be_stored_is_not_confirmed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b = swarm.add("a", "b")
        b.files.full = True
        await a.rotation.begin()
        await trio.sleep(MINUTE)
        assert b.keys == (OLD,)
        assert a.rotation.keys.change
        assert a.rotation.keys.change.missing() == {b.key}
        b.files.full = False
        await all_changed(a, b)


async def test_a_second_rotation_waits_for_the_end_of_the_first(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b = swarm.add("a", "b")
        await a.rotation.begin()
        with pytest.raises(UsageError, match="is under way"):
            await a.rotation.begin()
        first = await all_changed(a, b)
        await b.rotation.begin()
        with trio.fail_after(MINUTE):
            while a.keys == (first,) or len(a.keys) > 1 or len(b.keys) > 1:  # noqa: ASYNC110 nothing tells
                await trio.sleep(1)
        assert a.keys == b.keys != (first,)


async def test_a_member_that_took_an_invitation_during_a_change_does_not_end_it_for_the_others(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with swarm_in(tmp_path) as swarm:
        a, b, back, away = swarm.add("a", "b", "back", "away")
        swarm.links.add(frozenset({a.key, away.key}))
        for each in (back, away):
            each.stop()
        await a.rotation.begin()
        await trio.sleep(MINUTE)
        back.files.files.put(a.rotation.keys.newest)  # as `demesh join` does
        back.start()
        await trio.sleep(MINUTE)
        assert a.rotation.keys.change
        assert a.rotation.keys.change.missing() == {away.key}
        assert [each.keys[1:] for each in (a, b)] == [(OLD,), (OLD,)]
        away.start()
        with trio.fail_after(5 * MINUTE):
            while len(a.keys) + len(b.keys) + len(away.keys) > 3:  # noqa: ASYNC110 nothing tells
                await trio.sleep(1)
        assert a.keys == b.keys == back.keys == away.keys


async def test_a_key_that_lies_elsewhere_changes_along_and_only_once_until_it_is_put_there(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere.key"
    write_secret(elsewhere, OLD.text())
    async with swarm_in(tmp_path) as swarm:
        a, b = swarm.add("a", "b")
        b.stop()
        b.elsewhere = elsewhere
        b.start()
        with pytest.raises(UsageError, match=r"elsewhere\.key"):
            await b.rotation.begin()
        await a.rotation.begin()
        await trio.sleep(5 * MINUTE)
        assert a.keys == b.keys != (OLD,)
        assert len(a.keys) == 1
        assert read_swarm_key(elsewhere) == OLD
        assert f"The swarm key in {elsewhere} is the old one" in caplog.text
        b.stop()
        b.start()
        assert b.keys == a.keys, "a restart does not lose it"
        await a.rotation.begin()
        await trio.sleep(5 * MINUTE)
        assert b.keys == a.keys[1:], "nor does another change"
        elsewhere.write_text(b.keys[0].text())
        b.stop()
        b.start()
        await trio.sleep(5 * MINUTE)
        assert len(a.keys) == 1
        assert a.keys == b.keys
