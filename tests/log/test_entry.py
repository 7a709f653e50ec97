from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError
from demesh.log.chain import Logs
from demesh.log.codec import Value, encode
from demesh.log.entry import (
    NO_HASH,
    Entry,
    decode_body,
    decode_envelope,
    encode_body,
    encode_envelope,
    sign,
    verify,
)
from tests.log.builders import (
    MESH,
    NO_LOG,
    OTHER_MESH,
    Pen,
    damaged,
    fields_of,
    generated,
    key_of,
    log_of,
    public_key_of,
    rewritten,
    stripped,
)


def _fields(**changes: Value) -> list[Value]:
    """The body of a good entry, field by field, with `changes`."""
    good: dict[str, Value] = {
        "format": 1,
        "log": bytes(16),
        "seq": 7,
        "prev": b"\1" * 32,
        "wall_ms": 2**53 - 1,
        "up_ms": 0,
        "boot8": bytes(8),
        "next_ms": 1,
        "kind": 3,
        "payload": [],
    }
    return list((good | changes).values())


def _reason(data: bytes) -> str:
    with pytest.raises(EntryError) as refused:
        decode_body(data)
    return refused.value.reason


def _body(size: int) -> bytes:
    """A body of exactly `size` bytes."""
    spare = size - len(encode(_fields(payload=[bytes(10_000)]))) + 10_000
    return encode_body(bytes(16), 7, b"\1" * 32, 2**53 - 1, 0, bytes(8), 1, 3, [bytes(spare)])


def test_entry_survives_its_envelope() -> None:
    for entry in log_of("ann", 3):
        assert decode_envelope(encode_envelope(entry)) == entry
        assert decode_envelope(encode_envelope(stripped(entry))) == stripped(entry)


@pytest.mark.parametrize(
    "change",
    [
        {"log": bytes(15)},
        {"seq": 2**53},
        {"seq": 0},
        {"prev": NO_HASH},
        {"prev": bytes(31)},
        {"wall_ms": 2**53},
        {"up_ms": 2**53},
        {"boot8": bytes(9)},
        {"next_ms": 0},
        {"next_ms": limits.NEXT_MS_MAX + 1},
        {"kind": 2**16},
        {"payload": b""},
        {"format": b"1"},
    ],
    ids=str,
)
def test_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    assert decode_body(encode(_fields())).seq == 7
    assert _reason(encode(_fields(**change))) == "shape"


def test_body_that_ends_early_is_refused() -> None:
    assert _reason(encode(_fields()[:-1])) == "shape"
    assert _reason(encode(7)) == "shape"


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("value", [7, b"7", "7", [7]], ids=str)
def test_field_of_another_type_is_refused(index: int, value: Value) -> None:
    fields = _fields()
    if type(value) is not type(fields[index]):
        fields[index] = value
        assert _reason(encode(fields)) == "shape"


def test_another_format_is_named_as_such() -> None:
    assert _reason(encode(_fields(format=2))) == "format"


@pytest.mark.parametrize(
    "envelope",
    [[], [b""], [encode(_fields())], [encode(_fields()), bytes(63)], [7, b""], [encode(_fields()), 0], 7, b""],
)
def test_envelope_out_of_shape_is_refused(envelope: Value) -> None:
    with pytest.raises(EntryError):
        decode_envelope(encode(envelope))


def test_signature_of_a_wrong_length_is_refused() -> None:
    with pytest.raises(EntryError, match="63 bytes"):
        decode_body(encode(_fields()), bytes(63))


def test_entry_may_fill_its_bound_and_no_more() -> None:
    most = limits.ENTRY_BYTES_MAX - 64 - 6
    body = _body(most)
    full = decode_body(body, sign(key_of("ann"), MESH, body))
    assert len(encode_envelope(full)) == limits.ENTRY_BYTES_MAX == full.size
    assert decode_envelope(encode_envelope(full)) == full
    with pytest.raises(EntryError) as refused:
        _body(most + 1)
    assert refused.value.reason == "too_large"
    beyond = encode(_fields(payload=[bytes(limits.ENTRY_BYTES_MAX)]))
    assert _reason(beyond) == "too_large"
    for envelope in ([beyond, b""], [full.body, full.signature, b"more"]):
        with pytest.raises(EntryError) as refused:
            decode_envelope(cbor2.dumps(envelope))
        assert refused.value.reason == "too_large"


@generated
@given(st.binary(max_size=200) | st.lists(st.integers(0, 9) | st.binary(max_size=33), max_size=11).map(cbor2.dumps))
def test_arbitrary_bytes_raise_entry_errors_only(data: bytes) -> None:
    for read in (decode_body, decode_envelope):
        try:
            read(data)
        except EntryError:
            continue


def _of_a_later_version() -> list[Entry]:
    """A log with a kind that nobody knows yet, results with a field more, and a body with one."""
    pen = Pen("ann")
    hello, results, unknown = pen.fill(3)
    results = rewritten(results, pen.key, payload=[*fields_of(results.payload), ["more", 7]])
    unknown = rewritten(unknown, pen.key, prev=results.hash, kind=60_000, payload=["what", [b"is", [1]]])
    body = encode([*_fields(log=pen.log, seq=3, prev=unknown.hash), "more"])
    return [hello, results, unknown, decode_body(body, sign(pen.key, MESH, body))]


def test_what_a_later_version_adds_is_taken_and_passed_on_unchanged() -> None:
    entries = _of_a_later_version()
    envelopes = [encode_envelope(entry) for entry in entries]
    received = [decode_envelope(envelope) for envelope in envelopes]
    assert Logs(MESH, NO_LOG).offer(received).accepted == entries
    assert [encode_envelope(entry) for entry in received] == envelopes


def test_signature_holds_for_its_key_mesh_and_bytes_only() -> None:
    entry = log_of("ann", 1)[0]
    assert verify(public_key_of("ann"), MESH, entry)
    assert not verify(public_key_of("ann"), OTHER_MESH, entry)
    assert not verify(public_key_of("bob"), MESH, entry)
    assert not verify(public_key_of("ann"), MESH, stripped(entry))
    assert not verify(public_key_of("ann"), MESH, decode_body(entry.body, damaged(entry.signature)))
    assert not verify(public_key_of("ann"), MESH, rewritten(entry, key_of("bob")))
    assert not verify(b"too short", MESH, entry)
