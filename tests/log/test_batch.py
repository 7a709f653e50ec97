from demesh.log.batch import Batch
from demesh.log.results import Result
from demesh.outcome import Outcome


def _result(number: int = 0) -> Result:
    return Result(number, 0, Outcome.PASS)


def _filled(count: int, now_ms: int) -> Batch:
    batch = Batch(10_000, 0)
    for number in range(count):
        batch.add(_result(number), now_ms, urgent=False)
    return batch


def test_an_entry_is_due_after_the_flush_interval_even_without_results() -> None:
    batch = Batch(10_000, 500)
    assert batch.due_ms == 10_500
    assert batch.take(10_600) == ()
    assert batch.due_ms == 20_600


def test_ordinary_results_wait_for_the_interval() -> None:
    batch = _filled(63, 3_000)
    assert batch.due_ms == 10_000
    assert [each.check for each in batch.take(10_000)] == list(range(63))
    assert batch.take(10_000) == ()


def test_an_urgent_result_is_due_at_once() -> None:
    batch = _filled(1, 2_000)
    batch.add(_result(), 3_000, urgent=True)
    assert batch.due_ms == 3_000
    assert len(batch.take(3_000)) == 2
    assert batch.due_ms == 13_000


def test_a_full_entrys_worth_is_due_at_once() -> None:
    assert _filled(64, 3_000).due_ms == 3_000


def test_no_more_than_64_results_are_taken_at_once_and_none_is_lost() -> None:
    batch = _filled(150, 3_000)
    taken = [batch.take(3_000)]
    assert batch.due_ms == 3_000, "another entry's worth is waiting"
    taken.append(batch.take(3_000))
    assert batch.due_ms == 13_000, "what is left is less than an entry's worth, and nothing of it is urgent"
    taken.append(batch.take(3_000))
    assert [len(each) for each in taken] == [64, 64, 22]
    assert [each.check for part in taken for each in part] == list(range(150))
    assert batch.due_ms == 13_000


def test_promise_is_two_intervals_and_five_seconds() -> None:
    assert Batch(10_000, 0).promise_ms == 25_000


def test_what_is_urgent_waits_for_no_second_flush() -> None:
    batch = Batch(10_000, 0)
    for number in range(70):
        batch.add(_result(number), 3_000, urgent=number == 66)
    assert len(batch.take(3_000)) == 64
    assert batch.due_ms == 3_000
    assert len(batch.take(3_000)) == 6
    assert batch.due_ms == 13_000
