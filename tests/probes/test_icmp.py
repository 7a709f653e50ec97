"""ICMP messages: what is ours, and what an error says. The sums and layouts are those of RFC 1071, RFC 792 and RFC 4443."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.probes import icmp

PAYLOAD = b"tokenize"
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def reply(version: icmp.Version, payload: bytes = PAYLOAD, seq: int = 7) -> bytes:
    request = icmp.encode_request(version, 0x1234, seq, payload)
    return bytes([icmp.ECHO_REPLY[version], 0]) + request[2:]


def test_a_request_is_laid_out_as_the_rfc_says():
    assert icmp.encode_request(6, 0x1234, 7, b"ab") == bytes.fromhex("80000000 1234 0007 6162")
    request = icmp.encode_request(4, 0x1234, 7, b"abc")
    assert request[:2] + request[4:] == bytes.fromhex("0800 1234 0007 616263")
    assert icmp.checksum(request) == 0, "a message with its checksum sums up to nothing"
    assert request[2:4] == bytes.fromhex("2162")


def test_the_checksum_is_that_of_rfc_1071():
    assert icmp.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert icmp.checksum(b"") == 0xFFFF
    assert icmp.checksum(b"\xff\xff" * 40_000) == 0
    assert icmp.checksum(b"\1") == icmp.checksum(b"\1\0")


@VERSIONS
def test_our_echo_is_known_by_its_payload_whatever_the_identifier(version: icmp.Version):
    echo = reply(version)
    assert icmp.reply_seq(version, echo, PAYLOAD) == 7
    assert icmp.reply_seq(version, echo[:4] + b"\xff\xff" + echo[6:], PAYLOAD) == 7
    for other in (
        reply(version, b"tokenizE"),
        reply(version, PAYLOAD + b"."),
        reply(version, PAYLOAD[:-1]),
        icmp.encode_request(version, 0x1234, 7, PAYLOAD),
        echo[:1] + b"\1" + echo[2:],
        bytes([icmp.ECHO_REPLY[6 if version == 4 else 4]]) + echo[1:],
        echo[:7],
        b"",
    ):
        assert icmp.reply_seq(version, other, PAYLOAD) is None


def test_an_ipv4_header_before_the_message_is_passed_over():
    for words in (5, 15):
        header = bytes([0x40 | words]) + bytes(4 * words - 1)
        assert icmp.reply_seq(4, header + reply(4), PAYLOAD) == 7
    assert icmp.reply_seq(4, b"\x45" + bytes(10), PAYLOAD) is None


@VERSIONS
def test_an_error_is_about_the_request_that_it_quotes(version: icmp.Version):
    quoted = icmp.encode_request(version, 0x1234, 9, PAYLOAD)[:8]
    assert icmp.request_seq(version, quoted, 0x1234) == 9
    assert icmp.request_seq(version, quoted, None) == 9
    assert icmp.request_seq(version, quoted, 0x4321) is None
    assert icmp.request_seq(version, reply(version), 0x1234) is None
    assert icmp.request_seq(version, quoted[:7], None) is None


@pytest.mark.parametrize(
    ("version", "type_", "code", "sentence"),
    [
        (4, 3, 1, "host unreachable"),
        (4, 3, 3, "port unreachable"),
        (4, 11, 0, "hop limit reached"),
        (6, 1, 0, "network unreachable"),
        (6, 1, 3, "host unreachable"),
        (6, 3, 0, "hop limit reached"),
        (4, 3, 14, "unreachable (ICMP type 3, code 14)"),
        (6, 1, 99, "unreachable (ICMP type 1, code 99)"),
        (4, 3, 4, None),  # fragmentation needed: the kernel sends smaller ones next
        (4, 5, 1, None),  # redirect
        (6, 2, 0, None),  # packet too big
        (6, 11, 0, None),
    ],
)
def test_an_error_is_told_if_it_ends_the_matter(version: icmp.Version, type_: int, code: int, sentence: str | None):
    assert icmp.refusal(version, type_, code) == sentence


@given(st.binary(max_size=100), st.sampled_from([4, 6]))
def test_no_bytes_are_taken_for_ours_or_raise(message: bytes, version: icmp.Version):
    assert icmp.reply_seq(version, message, b"a token of ours") is None
    icmp.request_seq(version, message, None)
