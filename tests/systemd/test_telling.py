"""What systemd is told of a node, and when. Virtual time, a real socket."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.systemd.notify import Notifying
from demesh.systemd.status import Glance
from demesh.systemd.telling import Telling
from demesh.view.verdict import Verdict
from tests.checks.bench import VirtualClock
from tests.systemd.listening import Manager, Message

_WATCHDOG = 20


class _Node:
    def __init__(self) -> None:
        self.ready = trio.Event()
        self.hung: list[str] = []
        self.seen = Glance(1, 2, [Verdict.UP] * 3)

    def hanging(self) -> list[str]:
        return self.hung


class _Told:
    """A node, which is ready unless it is said otherwise, and what was told of it."""

    def __init__(self, manager: Manager) -> None:
        self.manager, self.node, self.stop = manager, _Node(), trio.Event()
        self.telling = Telling(Notifying(manager.address, _WATCHDOG * 1_000_000), VirtualClock())

    async def heard(self, seconds: float = 0) -> list[Message]:
        """What is told within that time. It is taken as it comes: a socket holds ten messages."""
        deadline = trio.current_time() + seconds
        messages: list[Message] = []
        while trio.current_time() < deadline:
            await trio.sleep(0.5)
            messages += self.manager.waiting()
        await trio.testing.wait_all_tasks_blocked()
        return messages + self.manager.waiting()


@asynccontextmanager
async def _told(tmp_path: Path, *, ready: bool = True) -> AsyncGenerator[_Told]:
    with Manager(str(tmp_path / "notify")) as manager:
        told = _Told(manager)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.telling.run, told.node, lambda: told.node.seen, told.stop)
            if ready:
                told.node.ready.set()
                assert (await told.heard())[0] == {"READY": "1", "STATUS": "1/2 peers, 3 up"}
            yield told
            nursery.cancel_scope.cancel()


def _fed(messages: list[Message]) -> int:
    return sum("WATCHDOG" in each for each in messages)


@pytest.mark.trio
async def test_ready_is_told_once_and_not_before_it_is(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path, ready=False) as told:
        assert await told.heard(3_600) == []
        told.node.ready.set()
        assert [name for each in await told.heard(60) for name in each].count("READY") == 1


@pytest.mark.trio
async def test_the_watchdog_hears_at_half_of_its_time(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:
        assert _fed(await told.heard(10 * _WATCHDOG + 1)) == 20


@pytest.mark.trio
async def test_the_watchdog_hears_nothing_of_a_node_that_hangs_until_it_does_not(
    tmp_path: Path, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with _told(tmp_path) as told:
        told.node.hung = ["the scheduler of checks"]
        assert _fed(await told.heard(10 * _WATCHDOG)) == 0
        assert caplog.text.count("the scheduler of checks") == 1
        told.node.hung = []
        assert _fed(await told.heard(limits.WATCHDOG_AGAIN_SECONDS)) == 1


@pytest.mark.trio
async def test_without_a_watchdog_none_is_fed(tmp_path: Path, autojump_clock: object) -> None:
    with Manager(str(tmp_path / "notify")) as manager:
        node, stop = _Node(), trio.Event()
        node.ready.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Telling(Notifying(manager.address), VirtualClock()).run, node, lambda: node.seen, stop)
            await trio.sleep(600)
            stop.set()
        assert [next(iter(each)) for each in manager.waiting()] == ["READY", "STOPPING"]


@pytest.mark.trio
async def test_the_status_is_told_when_it_changes_and_not_too_often(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:
        assert not any("STATUS" in each for each in await told.heard(600))
        said: list[str] = []
        for number in range(600):
            told.node.seen = Glance(1, 2, [Verdict.UP] * number)
            said += [each["STATUS"] for each in await told.heard(1) if "STATUS" in each]
        assert 600 / limits.STATUS_LOOK_SECONDS - 1 <= len(said) <= 600 / limits.STATUS_LOOK_SECONDS + 1


@pytest.mark.trio
async def test_a_reload_begins_and_ends_whatever_comes_of_it(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:
        begun: list[Message] = []
        with suppress(RuntimeError):
            async with told.telling.reloading():
                begun += await told.heard()
                raise RuntimeError
        assert [each.keys() for each in begun] == [{"RELOADING", "MONOTONIC_USEC"}]
        assert await told.heard() == [{"READY": "1"}]


@pytest.mark.trio
async def test_that_a_reload_is_over_is_told_again_until_it_could_be_told(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with _told(tmp_path) as told:
        async with told.telling.reloading():
            while Notifying(told.manager.address).tell("STATUS=more than a socket holds"):
                pass
        assert not any("READY" in each for each in await told.heard()), "it was lost"
        said = await told.heard(2 * limits.STATUS_LOOK_SECONDS)
        assert [each for each in said if "READY" in each] == [{"READY": "1"}]


@pytest.mark.trio
async def test_two_reloads_at_once_are_told_one_after_the_other(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:

        async def reload() -> None:
            async with told.telling.reloading():
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reload)
            nursery.start_soon(reload)
        names = [next(iter(each)) for each in await told.heard() if "WATCHDOG" not in each]
        assert names == ["RELOADING", "READY", "RELOADING", "READY"]


@pytest.mark.trio
async def test_a_reload_during_the_start_does_not_say_that_it_is_over(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path, ready=False) as told:
        async with told.telling.reloading():
            pass
        assert await told.heard() == []


@pytest.mark.trio
async def test_a_stop_is_told_and_nothing_after_it(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:
        told.stop.set()
        assert [each["STOPPING"] for each in await told.heard(600)] == ["1"]


@pytest.mark.trio
async def test_a_reload_that_a_stop_overtakes_does_not_take_it_back(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path) as told:
        async with told.telling.reloading():
            told.stop.set()
            assert [next(iter(each)) for each in await told.heard(1)] == ["RELOADING", "STOPPING"]
        async with told.telling.reloading():
            pass
        assert await told.heard() == []


@pytest.mark.trio
async def test_a_start_is_extended_while_it_advances(tmp_path: Path, autojump_clock: object) -> None:
    async with _told(tmp_path, ready=False) as told:
        extended: list[Message] = []
        for _ in range(100):
            told.telling.starting("reading 40 logs")
            extended += await told.heard(0.5)
        assert 9 <= len(extended) <= 50 / limits.START_SIGN_SECONDS_MIN + 1
        assert extended[0]["EXTEND_TIMEOUT_USEC"] == str(limits.START_EXTENDED_SECONDS * 1_000_000)
        assert extended[0]["STATUS"] == "starting: reading 40 logs"
        told.telling.starting("opening the store", bytes_=500_000_000)
        (something_new,) = await told.heard()
        assert something_new["EXTEND_TIMEOUT_USEC"] == str((limits.START_EXTENDED_SECONDS + 500) * 1_000_000)
        assert await told.heard(600) == [], "and a start that hangs says nothing"
        told.node.ready.set()
        await told.heard()
        told.telling.starting("reading 40 logs")
        assert not any("EXTEND_TIMEOUT_USEC" in each for each in await told.heard())


@pytest.mark.trio
async def test_that_it_is_ready_is_told_again_until_it_could_be_told(tmp_path: Path, autojump_clock: object) -> None:
    address = str(tmp_path / "notify")
    node = _Node()
    node.ready.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Telling(Notifying(address), VirtualClock()).run, node, lambda: node.seen, trio.Event())
        await trio.sleep(10)
        with Manager(address) as manager:
            await trio.sleep(limits.WATCHDOG_AGAIN_SECONDS + 1)
            assert [each["READY"] for each in manager.waiting()] == ["1"]
        nursery.cancel_scope.cancel()
