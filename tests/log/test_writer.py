import pytest

from demesh import limits
from demesh.errors import EntryError
from demesh.log.chain import Logs
from demesh.log.entry import NO_HASH, Kind
from demesh.log.writer import Writer
from tests.log.builders import BOOT8, MESH, NO_LOG, Pen, log_of


def test_what_is_written_is_a_log_that_others_accept() -> None:
    pen = Pen("ann")
    entries = [pen.hello(), pen.results(), pen.bye()]
    assert [each.seq for each in entries] == [0, 1, 2]
    assert [each.prev for each in entries] == [NO_HASH, entries[0].hash, entries[1].hash]
    assert Logs(MESH, NO_LOG).offer(entries).accepted == entries
    assert pen.writer.head == entries[2].head
    assert pen.writer.next_seq == 3


def test_log_goes_on_from_a_head() -> None:
    pen, entries = Pen("ann"), log_of("ann", 3)
    writer = Writer(pen.key, MESH, BOOT8, pen.log, entries[2].head)
    after = writer.write(Kind.BYE, [], wall_ms=1, up_ms=2, next_ms=3)
    assert (after.seq, after.prev, after.boot8) == (3, entries[2].hash, BOOT8)
    assert (after.wall_ms, after.up_ms, after.next_ms) == (1, 2, 3)


@pytest.mark.parametrize(
    "payload", [[bytes(limits.ENTRY_BYTES_MAX)], [-1], [[[[[1]]]]]], ids=["too large", "negative", "too deep"]
)
def test_payload_that_cannot_be_written_uses_up_no_number(payload) -> None:
    pen = Pen("ann")
    hello = pen.hello()
    with pytest.raises(EntryError):
        pen.write(Kind.RESULTS, payload)
    assert pen.writer.head == hello.head
    assert Logs(MESH, NO_LOG).offer([hello, pen.results()]).refusals == []


def test_nothing_but_its_hello_can_begin_a_log() -> None:
    pen = Pen("ann")
    of_another_epoch, of_another_key = Pen("ann", epoch=1).greeting(), Pen("bob").greeting()
    for kind, payload in (
        (Kind.RESULTS, []),
        (Kind.BYE, []),
        (Kind.HELLO, []),
        (Kind.HELLO, of_another_epoch.payload()),
        (Kind.HELLO, of_another_key.payload()),
    ):
        with pytest.raises(RuntimeError, match="must begin with its hello"):
            pen.write(kind, payload)
    assert pen.writer.head is None
    assert Logs(MESH, NO_LOG).offer([pen.hello(), pen.results()]).refusals == []
