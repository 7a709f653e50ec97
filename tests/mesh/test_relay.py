"""The messages of `/demesh/relay/1`."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.address import Spot
from demesh.errors import EntryError, SyncError
from demesh.log.codec import Value, encode
from demesh.mesh.ask import No, Refused
from demesh.mesh.relay import (
    TOKEN_BYTES,
    datagram,
    here,
    read_here,
    read_send,
    read_sent,
    read_where,
    refusal,
    send,
    sent,
    where,
)
from tests.log.builders import generated

_TOKEN = bytes(range(TOKEN_BYTES))
_READERS = read_where, read_here, read_send, read_sent


def test_all_that_is_said_survives_the_way() -> None:
    assert read_where(where(Spot("192.0.2.7", 3478))) == Spot("192.0.2.7", 3478)
    assert read_here(here("2001:db8::1")) == "2001:db8::1"
    assert read_send(send(Spot("192.0.2.7", 50_000), _TOKEN)) == (Spot("192.0.2.7", 50_000), _TOKEN)
    assert read_sent(sent(3)) == 3


def test_what_is_sent_is_fixed_words_and_a_hash_of_the_token() -> None:
    assert datagram(_TOKEN).hex() == b"demesh relay 1: ".hex() + "25de2fec24ce7782aab0e1a39cf29aa8"


@pytest.mark.parametrize("read", [read_here, read_sent])
def test_a_refusal_may_come_instead_of_either_answer(read: Callable[[bytes], object]) -> None:
    assert read(refusal(Refused.RATE, "too often")) == No(Refused.RATE, "too often")


def test_an_address_is_told_in_one_form() -> None:
    assert read_here(here("2001:DB8:0::1")) == "2001:db8::1"


def test_a_later_version_may_say_more() -> None:
    assert read_where(encode([1, "192.0.2.7", 3478, "more"])) == Spot("192.0.2.7", 3478)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (read_where, []),
        (read_where, [1]),
        (read_where, [1, "turn.example.org", 3478]),
        (read_where, [1, "192.0.2.7", 0]),
        (read_where, [1, "192.0.2.7", 65_536]),
        (read_where, [3, "192.0.2.7", 3478, _TOKEN]),
        (read_here, [2, ""]),
        (read_here, [4, 1]),
        (read_send, [3, "192.0.2.7", 50_000, _TOKEN[1:]]),
        (read_send, [3, "192.0.2.7", 50_000, _TOKEN + b"more"]),
        (read_sent, [4, 17]),
    ],
)
def test_what_is_out_of_shape_is_refused(read: Callable[[bytes], object], message: Value) -> None:
    with pytest.raises((EntryError, SyncError)):
        read(encode(message))


@generated
@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for read in _READERS:
        with suppress(EntryError, SyncError):
            read(data)
