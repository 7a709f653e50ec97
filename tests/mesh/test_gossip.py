from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Value, decode, encode
from demesh.log.entry import Entry, Kind
from demesh.mesh.gossip import bundles, read_message, topic
from tests.log.builders import MESH, OTHER_MESH, Pen, fields_of, generated, lean_but_tip, log_of


def _envelopes(message: bytes) -> list[Value]:
    version, envelopes = fields_of(decode(message))
    assert version == 1
    return fields_of(envelopes)


def _entries(message: bytes) -> list[Entry]:
    entries = read_message(message)
    assert isinstance(entries, list)
    return entries


def test_entries_survive_their_message() -> None:
    entries = [*log_of("ann", 3), *lean_but_tip(log_of("bob", 3))]
    (message,) = bundles(entries)
    assert read_message(message) == entries


def test_nothing_to_say_is_no_message() -> None:
    assert bundles([]) == []


@generated
@given(st.lists(st.integers(0, 15_000), max_size=30))
@example([15_000] * 9)
def test_messages_are_full_but_within_their_bound_and_keep_the_order(sizes: list[int]) -> None:
    pen = Pen("ann")
    pen.hello()
    entries = [pen.write(Kind.EVENT, [bytes(size)]) for size in sizes]
    messages = bundles(entries)
    assert all(len(message) <= limits.GOSSIP_MESSAGE_BYTES_MAX for message in messages)
    assert [entry for message in messages for entry in _entries(message)] == entries
    for message, following in pairwise(messages):
        first = _entries(following)[0]
        assert len(message) + first.size > limits.GOSSIP_MESSAGE_BYTES_MAX - 200


_GOOD = bundles(log_of("ann", 2))[0]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed"),
        (_GOOD + b"\0", "malformed"),
        (_GOOD[:-1], "malformed"),
        (encode(7), "shape"),
        (encode([1]), "shape"),
        (encode([2, []]), "shape"),
        (encode([3, []]), "format"),
        (encode([1, [7]]), "shape"),
        (encode([1, [*_envelopes(_GOOD), [b"", b""]]]), "malformed"),
        (encode([1, [*_envelopes(_GOOD), [b"no entry", bytes(63)]]]), "shape"),
        (encode([1, [[bytes(limits.ENTRY_BYTES_MAX), b""]]]), "too_large"),
        (encode([1, [], bytes(limits.GOSSIP_MESSAGE_BYTES_MAX)]), "too_large"),
    ],
)
def test_message_of_which_any_part_is_wrong_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(EntryError) as refused:
        read_message(message)
    assert refused.value.reason == reason


def test_fields_of_a_later_version_are_skipped() -> None:
    assert read_message(encode([1, _envelopes(_GOOD), "more"])) == read_message(_GOOD)


@generated
@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_entry_errors_only(data: bytes) -> None:
    with pytest.raises(EntryError):
        read_message(data)


def test_each_mesh_has_a_topic_of_its_own() -> None:
    assert topic(MESH) == "/demesh/1/000102030405060708090a0b0c0d0e0f/entries"
    assert topic(MESH) != topic(OTHER_MESH)
