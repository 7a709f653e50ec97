"""STUN messages: the test vectors of RFC 5769, and whatever else comes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.probes.first_answer import BadAnswer
from demesh.probes.stun_exchange import Exchange
from demesh.probes.stun_message import Garbled, NotStun, binding, long_term_key, read

_ID = "2112a442 b7e7a701 bc34d686 fa87dfae"
_SOFTWARE = "8022000b 74657374 20766563 746f7220"
IPV4 = bytes.fromhex(
    f"0101003c {_ID} {_SOFTWARE} 00200008 0001a147 e112a643"
    "00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96"
)
IPV6 = bytes.fromhex(
    f"01010048 {_ID} {_SOFTWARE} 00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9"
    "00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "00010060 2112a442 78ad3433 c6ad72c0 29da412e"
    "00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000"
    "0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341"
    "0014000b 6578616d 706c652e 6f726700"
    "00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666"
)


@pytest.mark.parametrize(
    ("wire", "mapped"),
    [(IPV4, ("192.0.2.1", 32853)), (IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_responses_of_rfc_5769_are_read_and_their_signatures_hold(wire: bytes, mapped: tuple[str, int]):
    message = read(wire)
    assert (message.kind, message.method, message.mapped, message.software) == (
        "response",
        "BINDING",
        mapped,
        "test vector",
    )
    assert message.signed_with(b"VOkJxbRl1RmTxUk/WvJxBt")
    assert not message.signed_with(b"VOkJxbRl1RmTxUk/WvJxBT")


def test_the_long_term_request_of_rfc_5769_is_signed_with_our_key():
    message = read(LONG_TERM)
    assert (message.kind, message.realm, message.nonce) == ("request", "example.org", b"f//499k954d6OL34oL9FSTvy64sA")
    assert message.signed_with(long_term_key("マトリックス", "example.org", "TheMatrIX"))


def test_a_fingerprint_that_does_not_hold_is_no_message():
    with pytest.raises(Garbled):
        read(IPV4[:-1] + bytes([IPV4[-1] ^ 1]))


@pytest.mark.parametrize("wire", [IPV4[:-4], IPV4 + bytes(4), IPV4[:40], IPV4[:20], IPV6[:2] + b"\0\4" + IPV6[4:24]])
def test_a_message_of_another_length_than_it_says_is_garbled(wire: bytes):
    with pytest.raises(Garbled) as garbled:
        read(wire)
    assert garbled.value.id == IPV4[4:20]


@pytest.mark.parametrize(
    "wire", [b"", IPV4[:19], b"\x80" + IPV4[1:], IPV4[:4] + bytes(4) + IPV4[8:], b"HTTP/1.1 400 Bad R\r\n"]
)
def test_what_has_no_header_of_stun_is_none(wire: bytes):
    with pytest.raises(NotStun):
        read(wire)


def test_an_attribute_that_reaches_beyond_the_end_is_garbled():
    with pytest.raises(Garbled):
        read(IPV4[:2] + b"\0\x08" + IPV4[4:20] + b"\x80\x22\0\x05abcd")


_types = st.sampled_from([0x0101, 0x0111, 0x0001, 0x0017, 0x0103, 0x0FFF]) | st.integers(0, 0xFFFF)
_known = st.sampled_from([1, 5, 6, 8, 9, 0xD, 0x12, 0x13, 0x14, 0x15, 0x16, 0x20, 0x8022, 0x8028, 0x802C])


@given(
    st.binary(max_size=200)
    | st.builds(lambda at, byte: IPV4[:at] + bytes([byte]) + IPV4[at + 1 :], st.integers(0, 79), st.integers(0, 255))
)
def test_any_bytes_make_a_message_or_are_refused(wire: bytes):
    with suppress(NotStun, Garbled):
        assert read(wire).signed_with(b"x") in (True, False)


@given(_types, st.lists(st.tuples(_known, st.binary(max_size=24), st.integers(-3, 3)), max_size=8), st.booleans())
def test_any_attributes_make_an_answer_or_a_sentence(
    type_: int, attributes: list[tuple[int, bytes, int]], reliable: bool
):
    asked = Exchange(binding(), key=b"k")
    body = b"".join(
        kind.to_bytes(2, "big") + max(len(value) + off, 0).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for kind, value, off in attributes
    )
    wire = type_.to_bytes(2, "big") + len(body).to_bytes(2, "big") + asked.request.id + body
    with suppress(BadAnswer):
        message = asked.take(wire, reliable)
        assert message is None or message.id == asked.request.id
