"""DNS messages: what dnspython writes we read, what anybody else writes does no harm."""

import struct
import time
from contextlib import suppress

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.limits import DNS_RECORDS_MAX, DNS_UDP_BYTES_ANNOUNCED
from demesh.probes.dns_message import Garbled, NotOurs, Question, Reply, read_reply, show
from tests.probes.dns_servers import answer

ID = 0x1234


def question(name: str = "shop.test", record: str = "A", recursion: bool = True) -> Question:
    return Question(dns.name.from_text(name), dns.rdatatype.from_text(record), recursion)


def replied(asked: Question, *records: str, rcode: int = 0) -> Reply:
    return read_reply(answer(asked.encode(ID), *records, rcode=rcode), asked, ID)


def shown(reply: Reply) -> list[str]:
    return sorted(show(record) for record in reply.records)


def test_a_query_is_what_dnspython_reads():
    for recursion in (True, False):
        read = dns.message.from_wire(question("WWW.shop.test", "TXT", recursion).encode(ID))
        assert (read.id, read.edns, read.payload) == (ID, 0, DNS_UDP_BYTES_ANNOUNCED)
        assert read.question[0].to_text() == "WWW.shop.test. IN TXT"
        assert bool(read.flags & dns.flags.RD) == recursion
        assert not read.flags & ~dns.flags.RD


def test_answers_are_those_for_the_name_and_where_its_aliases_lead():
    records = [
        "shop.test. 60 IN CNAME a.test.",
        "b.test. 60 IN A 192.0.2.2",
        "a.test. 60 IN CNAME B.test.",
        "other.test. 60 IN A 192.0.2.66",
        "b.test. 60 IN AAAA 2001:db8::1",
    ]
    reply = replied(question("SHOP.test"), *records)
    assert (shown(reply), reply.alias) == (["192.0.2.2"], "b.test")
    assert shown(replied(question(record="CNAME"), *records[:1])) == ["a.test"]
    everything = replied(
        question(record="ANY"), "shop.test. 60 IN A 192.0.2.1", 'shop.test. 60 IN TXT "x."', records[3]
    )
    assert shown(everything) == ['"x."', "192.0.2.1"]


def test_aliases_in_a_circle_lead_nowhere():
    circle = ["shop.test. 60 IN CNAME a.test.", "a.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME a.test."]
    assert replied(question(), *circle).records == ()


@pytest.mark.parametrize("rcode", [1, 2, 3, 5])
def test_an_error_without_a_question_is_a_reply_but_an_answer_without_one_is_not(rcode: int):
    bare = struct.pack("!HHHHHH", ID, 0x8000 | rcode, 0, 0, 0, 0)
    assert read_reply(bare, question(), ID).rcode == ["", "FORMERR", "SERVFAIL", "NXDOMAIN", "", "REFUSED"][rcode]
    with pytest.raises(NotOurs):
        read_reply(struct.pack("!HHHHHH", ID, 0x8000, 0, 0, 0, 0), question(), ID)


@pytest.mark.parametrize(
    "reply",
    [
        answer(question("shop.test", "AAAA").encode(ID)),
        answer(question("shop.tesu").encode(ID)),
        answer(question("shop.tesu").encode(ID), rcode=2),
        answer(question().encode(ID + 1)),
        question().encode(ID),
        b"",
        answer(question().encode(ID))[:11],
        struct.pack("!HHHHHH", ID, 0x8000 | 5 << 11, 1, 0, 0, 0) + question().section(),
    ],
)
def test_what_does_not_fit_the_question_is_not_ours(reply: bytes):
    with pytest.raises(NotOurs):
        read_reply(reply, question(), ID)


def test_pointers_that_do_not_lead_backwards_and_data_beyond_the_end_are_garbled():
    asked = question()
    head = struct.pack("!HHHHHH", ID, 0x8180, 1, 1, 0, 0) + asked.section()
    here = len(head)
    fixed = struct.pack("!HHIH", 1, 1, 60, 4) + bytes(4)
    assert read_reply(head + b"\xc0\x0c" + fixed, asked, ID).records
    for record in (
        struct.pack("!H", 0xC000 | here) + fixed,
        struct.pack("!H", 0xC000 | here + 2) + fixed,
        b"\xc0\x0c" + fixed[:-1],
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 3) + bytes(3),
        b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, 4) + bytes(3),
        b"\x40" + bytes(64) + b"\0" + fixed,
        b"",
    ):
        with pytest.raises(Garbled):
            read_reply(head + record, asked, ID)


def test_records_of_another_class_are_no_answer():
    asked = question()
    chaos = b"\xc0\x0c" + struct.pack("!HHIH", 1, 3, 60, 4) + bytes(4)
    wire = struct.pack("!HHHHHH", ID, 0x8180, 1, 1, 0, 0) + asked.section() + chaos
    assert read_reply(wire, asked, ID) == Reply("NOERROR", truncated=False)


def test_what_is_left_of_a_reply_that_is_cut_short_is_not_read():
    asked = question()
    wire = struct.pack("!HHHHHH", ID, 0x8380, 1, 1, 0, 0) + asked.section() + b"\xc0"
    assert read_reply(wire, asked, ID) == Reply("NOERROR", truncated=True)


@pytest.mark.parametrize("type_", [dns.rdatatype.A, dns.rdatatype.NS, dns.rdatatype.SOA])
def test_a_hostile_message_is_read_in_bounded_time(type_: dns.rdatatype.RdataType):
    """The same messages take `dns.message.from_wire` seconds; both names of each record have 126 labels."""
    asked = Question(dns.name.Name([b"a"] * 126 + [b""]), type_)
    data = {"A": bytes(4), "NS": b"\xc0\x0c", "SOA": b"\xc0\x0c\xc0\x0c" + bytes(20)}[type_.name]
    for owner in (b"\xc0\x0c", b"\0"):
        record = owner + struct.pack("!HHIH", type_, 1, 60, len(data)) + data
        for count in (DNS_RECORDS_MAX, DNS_RECORDS_MAX + 1, 65_535 // len(record)):
            wire = struct.pack("!HHHHHH", ID, 0x8180, 1, count, 0, 0) + asked.section() + record * count
            began = time.process_time()
            with suppress(Garbled):
                assert read_reply(wire, asked, ID).records == ()
                assert (owner, count) == (b"\0", DNS_RECORDS_MAX)
            assert time.process_time() - began < 0.5


@given(st.binary(max_size=200), st.sampled_from(["A", "MX", "TXT", "SOA", "ANY", "SVCB", "LOC", "NSEC", "TYPE999"]))
def test_no_bytes_raise_anything_else(tail: bytes, record: str):
    asked = question(record=record)
    for counts in ((1, 1, 0, 0), (1, 65535, 0, 0), (0, 1, 0, 0)):
        head = struct.pack("!HHHHHH", ID, 0x8180, *counts)
        of_type = struct.pack("!HHIH", asked.type, 1, 60, len(tail)) + tail
        for wire in (head + tail, head + asked.section() + tail, head + asked.section() + b"\xc0\x0c" + of_type):
            try:
                reply = read_reply(wire, asked, ID)
            except (NotOurs, Garbled):
                continue
            assert all(isinstance(show(each), str) for each in reply.records)
