from dataclasses import replace

import pytest

from demesh.errors import EntryError
from demesh.log.codec import Value
from demesh.log.entry import Kind
from demesh.log.head import Head
from demesh.log.hello import Hello, PresenceProfile, read_hello
from tests.log.builders import Pen, fields_of, rewritten


def _read(pen: Pen, payload: Value) -> Hello:
    return read_hello(rewritten(pen.entries[0], pen.key, payload=payload))


@pytest.fixture
def pen() -> Pen:
    pen = Pen("ann")
    pen.hello()
    return pen


def test_hello_survives_its_entry(pen: Pen) -> None:
    full = replace(
        pen.greeting(),
        tags=("eu", "vps"),
        presence=PresenceProfile.ROAMING,
        addresses=("/ip4/192.0.2.7/tcp/8471",),
        previous=(bytes(16), Head(9, bytes(32))),
        fork_proofs=(bytes(32), b"\1" * 32),
    )
    assert _read(pen, full.payload()) == full
    assert _read(pen, pen.greeting().payload()) == pen.greeting()
    assert full.log == pen.log


def test_fields_of_a_later_version_are_skipped(pen: Pen) -> None:
    assert _read(pen, [*fields_of(pen.greeting().payload()), "more"]) == pen.greeting()


def test_presence_of_a_later_version_hides_no_silence(pen: Pen) -> None:
    payload = fields_of(pen.greeting().payload())
    payload[8] = 7
    assert _read(pen, payload).presence == PresenceProfile.STEADY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (2, ""),
        (2, "n" * 65),
        (3, 1),
        (7, ["tag"] * 33),
        (7, ["t" * 65]),
        (9, ["/ip4/192.0.2.7/tcp/8471"] * 17),
        (10, [bytes(16), 9]),
        (10, [bytes(15), 9, bytes(32)]),
        (11, [bytes(31)]),
    ],
)
def test_field_out_of_range_is_refused(pen: Pen, field: int, value: Value) -> None:
    payload = fields_of(pen.greeting().payload())
    payload[field] = value
    with pytest.raises(EntryError) as refused:
        _read(pen, payload)
    assert refused.value.reason == "shape"


@pytest.mark.parametrize("field", [0, 1])
def test_hello_that_does_not_make_the_id_of_its_log_is_refused(pen: Pen, field: int) -> None:
    payload = fields_of(pen.greeting().payload())
    payload[field] = b"x" * (32, 8)[field]
    with pytest.raises(EntryError) as refused:
        _read(pen, payload)
    assert refused.value.reason == "wrong_key"


def test_only_a_hello_is_read_as_one(pen: Pen) -> None:
    with pytest.raises(EntryError, match="not a hello"):
        read_hello(rewritten(pen.entries[0], pen.key, kind=Kind.BYE))
