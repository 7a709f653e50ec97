"""Which of a name's two addresses is believed, and for how long each is waited for. In virtual time."""

import pytest
import trio
import trio.testing

from demesh.failure import Failed
from demesh.outcome import Outcome
from demesh.probes.dialling import Progress
from demesh.probes.first_answer import BadAnswer, first_answer

REFUSES = Failed(Outcome.FAIL, "refuses")
NO_ROUTE = Failed(Outcome.ERROR, "no route")
BABBLES = BadAnswer(Outcome.FAIL, "babbles")


async def told(said: dict[str, str | Failed | None]) -> tuple[str, str | None, float]:
    """What came of asking addresses that answer, fail or (None) are silent: told what, by whom, after how long."""

    async def ask(address: str, by: float) -> str:
        answer = said[address]
        if answer is None:
            await trio.sleep_until(by)
            raise Failed(Outcome.TIMEOUT, "silent")
        if isinstance(answer, Failed):
            raise answer
        return answer

    began = trio.current_time()
    progress = Progress()
    try:
        what = await first_answer(list(said), began + 10, progress, ask)
    except Failed as failed:
        what = str(failed)
    return what, progress.address, trio.current_time() - began


@pytest.mark.trio
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"a": "yes", "b": "too"}, ("yes", "a", 0)),
        ({"a": None, "b": "yes"}, ("yes", "b", 5)),
        ({"a": REFUSES, "b": "yes"}, ("yes", "b", 0)),
        ({"a": None}, ("silent", "a", 10)),
        ({"a": REFUSES, "b": None}, ("refuses", "a", 10)),
        ({"a": NO_ROUTE, "b": None}, ("silent", "b", 10)),
        ({"a": NO_ROUTE, "b": REFUSES}, ("refuses", "b", 0)),
        ({"a": REFUSES, "b": NO_ROUTE}, ("refuses", "a", 0)),
        ({"a": NO_ROUTE, "b": NO_ROUTE}, ("no route", "a", 0)),
        ({"a": BABBLES, "b": "yes"}, ("babbles", "a", 0)),
    ],
)
async def test_the_first_address_that_answers_is_believed(
    autojump_clock: trio.testing.MockClock,
    said: dict[str, str | Failed | None],
    expected: tuple[str, str, float],
):
    assert await told(said) == (*expected[:2], pytest.approx(expected[2]))
