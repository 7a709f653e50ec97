"""What is said before TLS: each protocol's words, in pieces of any size, and servers that refuse, lie or babble."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.failure import Failed
from demesh.limits import STARTTLS_BYTES_MAX
from demesh.outcome import Outcome
from demesh.probes.starttls import TALKS, Starttls

XMPP_STREAM = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' from='x' id='1' version='1.0'>"
XMPP_FEATURES = (
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
)
ASKED_XMPP = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
TRANSCRIPTS: list[tuple[str, list[tuple[bytes, bytes]]]] = [
    (
        "smtp",
        [
            (b"220-mail.example.org\r\n220 ESMTP\r\n", b"EHLO demesh.invalid\r\n"),
            (b"250-mail.example.org\r\n250-SIZE 1000\r\n250 starttls\r\n", b"STARTTLS\r\n"),
            (b"220 2.0.0 go ahead\r\n", b""),
        ],
    ),
    ("imap", [(b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"t STARTTLS\r\n"), (b"* CAPABILITY X\r\nT ok go\r\n", b"")]),
    ("pop3", [(b"+OK hi\r\n", b"STLS\r\n"), (b"+OK go\r\n", b"")]),
    ("ftp", [(b"220-Welcome\r\n 220 inside\r\nanything\r\n220 \r\n", b"AUTH TLS\r\n"), (b"234 go\r\n", b"")]),
    (
        "xmpp",
        [
            (XMPP_STREAM + XMPP_FEATURES, ASKED_XMPP),
            (b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b""),
        ],
    ),
    (
        "xmpp",
        [
            (XMPP_STREAM[21:] + b"\n " + XMPP_FEATURES, ASKED_XMPP),
            (b"\n<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>", b""),
        ],
    ),
    ("postgres", [(b"S", b"")]),
]
OPENINGS = {
    "xmpp": b"<?xml version='1.0'?><stream:stream to=\"example.org\" version='1.0' xml:lang='en'"
    b" xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "postgres": b"\0\0\0\x08\x04\xd2\x16\x2f",
}


def opened(protocol: str) -> Starttls:
    talk = Starttls(protocol, "example.org")
    assert talk.receive(b"") == OPENINGS.get(protocol, b"")
    return talk


@pytest.mark.parametrize(("protocol", "turns"), TRANSCRIPTS)
def test_a_server_that_follows_the_protocol_becomes_ready(protocol: str, turns: list[tuple[bytes, bytes]]):
    talk = opened(protocol)
    for said, answer in turns:
        assert not talk.ready
        assert talk.receive(said) == answer
    assert talk.ready


@pytest.mark.parametrize(("protocol", "turns"), TRANSCRIPTS)
def test_pieces_of_one_byte_make_no_difference(protocol: str, turns: list[tuple[bytes, bytes]]):
    talk = opened(protocol)
    for said, answer in turns:
        for n in range(len(said) - 1):
            assert talk.receive(said[n : n + 1]) == b"", "nothing is said before the other has finished"
            assert not talk.ready
        assert talk.receive(said[-1:]) == answer
    assert talk.ready


@pytest.mark.parametrize(("protocol", "turns"), TRANSCRIPTS)
@pytest.mark.parametrize("extra", [b"\n", b"250 injected\r\n", b"\x16\x03"])
def test_what_follows_the_go_ahead_is_refused(protocol: str, turns: list[tuple[bytes, bytes]], extra: bytes):
    for at_once in (True, False):
        talk = opened(protocol)
        for said, _ in turns[:-1]:
            talk.receive(said)
        last = turns[-1][0]
        if not at_once:
            talk.receive(last)
        with pytest.raises(Failed, match="sent more after its go-ahead for TLS, which is refused") as refused:
            talk.receive(last + extra if at_once else extra)
        assert refused.value.outcome == Outcome.FAIL


REFUSALS = [
    ("smtp", b"554 no\r\n", "the server turned the connection away (554)"),
    ("smtp", b"220 hi\r\n502 what\r\n", "the server refused EHLO (502)"),
    ("smtp", b"220 hi\r\n250-x\r\n250 XSTARTTLS\r\n", "the server does not offer TLS"),
    ("smtp", b"220 hi\r\n250-x\r\n250 STARTTLS\r\n454 not now\r\n", "the server refused STARTTLS (454)"),
    ("imap", b"* BYE no\r\n", "the server's greeting leaves no room for STARTTLS"),
    ("imap", b"* PREAUTH hello\r\n", "the server's greeting leaves no room for STARTTLS"),
    ("imap", b"* OK hi\r\nt NO not now\r\n", "the server refused STARTTLS"),
    ("imap", b"* OK hi\r\n* x\r\nt BAD what\r\n", "the server refused STARTTLS"),
    ("pop3", b"-ERR no\r\n", "the server turned the connection away"),
    ("pop3", b"+OK\r\n-ERR what\r\n", "the server refused STLS"),
    ("ftp", b"421-no\r\n421 no\r\n", "the server turned the connection away (421)"),
    ("ftp", b"220 hi\r\n530 log in first\r\n", "the server refused AUTH TLS (530)"),
    ("xmpp", XMPP_STREAM + b"<stream:features><bind/></stream:features>", "the server does not offer TLS"),
    ("xmpp", XMPP_STREAM + b"<stream:features/>", "the server does not offer TLS"),
    ("xmpp", XMPP_STREAM + b"<stream:error><x/></stream:error>", "the server turned the connection away"),
    ("xmpp", XMPP_STREAM + b"</stream:stream>", "the server turned the connection away"),
    ("xmpp", XMPP_STREAM + XMPP_FEATURES + b"<failure xmlns='x'/>", "the server refused STARTTLS"),
    ("xmpp", XMPP_STREAM + XMPP_FEATURES + b"<proceed><x>", "the server refused STARTTLS"),
    ("postgres", b"N", "the server does not offer TLS"),
]


@pytest.mark.parametrize(("protocol", "said", "sentence"), REFUSALS)
def test_a_refusal_is_a_mismatch(protocol: str, said: bytes, sentence: str):
    with pytest.raises(Failed) as refused:
        opened(protocol).receive(said)
    assert (refused.value.outcome, str(refused.value)) == (Outcome.MISMATCH, sentence)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("smtp", b"+OK s3cret\r\n"),
        ("smtp", b"220 hi\r\n250-x\r\n250 STARTTLS\r\n\x16\x03\r\n"),
        ("smtp", b"2200 hi\r\n"),
        ("ftp", b"HTTP/1.1 400 s3cret\r\n"),
        ("ftp", b"\r\n"),
        ("imap", b"220 s3cret\r\n"),
        ("imap", b"* OK hi\r\nother OK s3cret\r\n"),
        ("imap", b"* OK hi\r\n\r\n"),
        ("pop3", b"* OK s3cret\r\n"),
        ("xmpp", b"HTTP/1.1 400 s3cret\r\n\r\n<html>"),
        ("xmpp", XMPP_STREAM + b"<!DOCTYPE s3cret>"),
        ("xmpp", XMPP_STREAM + b"<>"),
        ("postgres", b"H"),
    ],
)
def test_another_protocol_fails_and_is_not_quoted(protocol: str, said: bytes):
    with pytest.raises(Failed, match=r"^the answer is not (SMTP|FTP|IMAP|POP3|XMPP|PostgreSQL)$") as failed:
        opened(protocol).receive(said)
    assert failed.value.outcome == Outcome.FAIL


@pytest.mark.parametrize(
    ("protocol", "begin", "babble"),
    [
        ("smtp", b"", b"220-hello\r\n"),
        ("smtp", b"220 ", b"x"),
        ("ftp", b"220-x\r\n", b"\r\n"),
        ("imap", b"* OK hi\r\n", b"* more\r\n"),
        ("pop3", b"+OK ", b"x"),
        ("xmpp", XMPP_STREAM + b"<stream:features>", b"<x>"),
        ("xmpp", XMPP_STREAM, b" "),
    ],
)
@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_babble_without_end_is_cut_at_the_bound(protocol: str, begin: bytes, babble: bytes, piece: int):
    talk = opened(protocol)
    talk.receive(begin)
    fits = (babble * STARTTLS_BYTES_MAX)[: STARTTLS_BYTES_MAX - len(begin)]
    for n in range(0, len(fits), piece):
        talk.receive(fits[n : n + piece])
        assert not talk.ready
    with pytest.raises(Failed, match=rf"^more than {STARTTLS_BYTES_MAX} bytes came before TLS$") as failed:
        talk.receive(b"x")
    assert failed.value.outcome == Outcome.FAIL


@given(st.sampled_from(sorted(TALKS)), st.lists(st.sampled_from([
    b"220 ", b"250-", b"250 STARTTLS", b"\r\n", b"\n", b"+OK", b"* OK", b"t OK", b"<?xml?>", b"<stream:stream>",
    XMPP_FEATURES, b"<", b">", b"<proceed/>", b"S", b"\0\xff", b"999 ",
]) | st.binary(max_size=20), max_size=20))  # fmt: skip
def test_whatever_comes_the_machine_ends_ready_waiting_or_failed(protocol: str, pieces: list[bytes]):
    whole, parts = opened(protocol), opened(protocol)

    def ending(talk: Starttls, said: list[bytes]) -> str:
        try:
            for each in said:
                talk.receive(each)
        except Failed as failed:
            return str(failed)
        return f"ready: {talk.ready}"

    assert ending(whole, [b"".join(pieces)]) == ending(parts, pieces), "how the bytes are cut makes no difference"


def test_the_host_that_xmpp_asks_for_is_quoted():
    assert b'to="a\'b&lt;c"' in Starttls("xmpp", "a'b<c").receive(b"")
