"""Names whose lookups hang keep nobody else's from being looked up. In real time: a thread knows no other."""

import socket
import threading
from collections import Counter
from collections.abc import Generator

import pytest
import trio
import trio.testing

from demesh.outcome import Outcome
from demesh.probes.resolving import Resolver, Unresolved

pytestmark = pytest.mark.trio
_MOST = 16
_SHARE = 14  # of names that were not found the last time
_WITHIN_SECONDS = 5


class _Names:
    """Those that begin with "hung" hang until they are released, and are then found."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.released: dict[str, threading.Event] = {}
        self.resolver = Resolver(self._lookup, _MOST)

    def _lookup(self, host: str) -> list[str]:
        self.asked[host] += 1
        if host == "demesh.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "")
        if host.startswith("hung"):
            self.released.setdefault(host, threading.Event()).wait()
        return ["192.0.2.1"]

    async def give_up_on(self, count: int) -> None:
        """Ask for so many that hang, and wait until each was asked for and is left behind."""
        async with trio.open_nursery() as nursery:
            for n in range(count):
                nursery.start_soon(self.is_found, f"hung{n}", 1)

    async def is_found(self, host: str, within_s: float = _WITHIN_SECONDS) -> bool:
        try:
            return bool(await self.resolver.resolve(host, within_s))
        except Unresolved:
            return False


@pytest.fixture
def names() -> Generator[_Names]:
    names = _Names()
    yield names
    for each in list(names.released.values()):
        each.set()


async def test_a_name_that_was_found_is_found_again_however_many_others_hang(names: _Names) -> None:
    assert await names.is_found("quick")
    await names.give_up_on(_SHARE + 10)
    with trio.fail_after(_WITHIN_SECONDS / 2):
        assert await names.is_found("quick")


async def test_a_new_name_is_asked_for_as_soon_as_one_that_hangs_has_ended(names: _Names) -> None:
    await names.give_up_on(_SHARE)
    async with trio.open_nursery() as nursery:
        found: list[bool] = []

        async def ask() -> None:
            found.append(await names.is_found("new"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert not names.asked["new"]
        names.released["hung3"].set()
    assert found == [True]


async def test_a_new_name_for_which_no_thread_comes_free_in_time_is_no_failure_of_its_target(names: _Names) -> None:
    await names.give_up_on(_SHARE)
    with pytest.raises(Unresolved, match="this node waits for 16 other names") as raised:
        await names.resolver.resolve("new", 0.1)
    assert raised.value.outcome is Outcome.ERROR
    assert not names.asked["new"]


async def test_a_name_that_hangs_takes_one_thread_however_often_it_is_asked_for(names: _Names) -> None:
    await names.give_up_on(1)
    for _ in range(_SHARE):
        assert not await names.is_found("hung0", 0.02)
    assert names.asked["hung0"] == 1
    assert await names.is_found("new")


async def test_whoever_asks_again_for_a_name_that_hangs_has_the_answer_when_it_comes(names: _Names) -> None:
    await names.give_up_on(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.is_found, "hung0")
        await trio.testing.wait_all_tasks_blocked()
        names.released["hung0"].set()
        with trio.fail_after(_WITHIN_SECONDS / 2):
            assert await names.is_found("hung0")
