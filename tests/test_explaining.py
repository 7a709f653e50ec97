"""Explanations from wherever logs are held: bounded, a page at a time, and the same."""

from pathlib import Path

import pytest
import trio

from demesh import limits
from demesh.errors import UsageError
from demesh.explaining import Question, explain_at_once, explain_in_background, newest_ms, question_of
from demesh.log.store import Store
from tests.log.builders import MESH, DirectStorage, put
from tests.view.build import WALL_MS
from tests.view.telling import MINUTE_MS, Pile, SignedLog, Vantages, all_pass, logs_of, outage

_QUESTION = Question("web", WALL_MS + 5 * MINUTE_MS, WALL_MS + 12 * MINUTE_MS)


@pytest.fixture
def storage() -> DirectStorage:
    storage = DirectStorage()
    storage.store = Store(Path(":memory:"), mesh_id=MESH)
    put(storage.store, *logs_of(outage(SignedLog)))
    return storage


@pytest.mark.trio
async def test_a_running_node_reads_a_page_at_a_time(storage: DirectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPLAIN_PAGE_BYTES", 2_000)
    whole = explain_at_once(storage.store, _QUESTION)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert await explain_in_background(storage, _QUESTION) == whole
        nursery.cancel_scope.cancel()
    assert turns >= whole["entries"] // 20


@pytest.mark.trio
async def test_what_cannot_be_asked_is_refused_in_the_background_too(storage: DirectStorage) -> None:
    with pytest.raises(UsageError, match="No check is called 'nothing'"):
        await explain_in_background(storage, Question("nothing", 0, WALL_MS + MINUTE_MS, "check"))


def test_a_store_tells_the_same_as_the_entries_themselves(storage: DirectStorage) -> None:
    assert explain_at_once(storage.store, _QUESTION) == explain_at_once(Pile(outage(SignedLog).written), _QUESTION)


def test_more_than_is_read_is_said_and_the_newest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pile = Pile(outage().written)
    whole = explain_at_once(pile, _QUESTION)
    assert whole["complete"] is True
    monkeypatch.setattr(limits, "EXPLAIN_ENTRIES_MAX", 45)
    cut = explain_at_once(pile, _QUESTION)
    assert (cut["complete"], cut["entries"]) == (False, 45)
    assert [each["last_seq"] - each["first_seq"] + 1 for each in cut["logs"]] == [15, 15, 15]
    assert cut["closing"]["verdict"] == whole["closing"]["verdict"]


def test_too_many_steps_leave_off_the_oldest_and_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    pile = Pile(outage().written)
    steps = explain_at_once(pile, _QUESTION)["steps"]
    monkeypatch.setattr(limits, "EXPLAIN_STEPS_MAX", 3)
    cut = explain_at_once(pile, _QUESTION)
    assert (cut["steps"], cut["steps_left_off"]) == (steps[-3:], len(steps) - 3)


def test_what_lies_after_the_window_is_not_read() -> None:
    mesh = outage()
    before = explain_at_once(Pile(mesh.written), _QUESTION)
    for minute in range(14, 40):
        mesh.minute(minute, **all_pass())
    assert explain_at_once(Pile(mesh.written), _QUESTION) == before


def test_a_check_that_runs_rarely_is_prepared_from_further_back() -> None:
    mesh = Vantages("a", interval_ms=120 * MINUTE_MS)
    for minute in range(1, 500):
        if minute % 120 == 1:
            mesh.minute(minute, **all_pass("a"))
        else:
            mesh.write("a", *(mesh.members["a"].results(minute * MINUTE_MS + later) for later in (0, 20_000, 40_000)))
    answer = explain_at_once(Pile(mesh.written), Question("web", WALL_MS + 450 * MINUTE_MS, WALL_MS + 470 * MINUTE_MS))
    assert answer["opening"]["verdict"] == "up"


def test_each_log_is_named_with_what_was_read_of_it() -> None:
    mesh = outage()
    idle = Vantages("d")
    for minute in range(1, 14):
        idle.write("d", idle.members["d"].results(minute * MINUTE_MS))
    answer = explain_at_once(Pile(mesh.written, idle.written[2:]), _QUESTION)
    heads = {each["node"]: each for each in answer["logs"]}
    assert [each["read"] for each in answer["logs"]].count("all") == 3
    newest = [entry for key, entry in mesh.written if key == mesh.members["a"].key and entry.up_ms <= 12 * MINUTE_MS][
        -1
    ]
    assert (heads["a"]["last_seq"], heads["a"]["last_hash"]) == (newest.seq, newest.hash.hex())


def test_a_time_is_resolved_by_who_is_asked() -> None:
    now_ms = 10**12
    assert question_of("web", None, None, None, now_ms) == Question("web", now_ms - 86_400_000, now_ms)
    assert question_of("web", "check", "2h", "1h", now_ms) == Question(
        "web", now_ms - 7_200_000, now_ms - 3_600_000, "check"
    )
    assert question_of("web", None, "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z", now_ms) == Question(
        "web", 1_000, 2_000
    )
    for bad in (("web", "host", None, None), ("web", None, "soon", None), ("web", None, "1h", "2h")):
        with pytest.raises(UsageError):
            question_of(*bad, now_ms)


def test_without_a_node_the_time_ends_with_the_logs_but_not_in_the_future() -> None:
    mesh = outage()
    dates = sorted({entry.wall_ms for _, entry in mesh.written})
    pile = Pile(mesh.written)
    assert newest_ms(pile, dates[-1] + 10**9) == dates[-1]
    assert newest_ms(pile, 5) == 5
