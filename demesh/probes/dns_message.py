"""DNS messages (RFC 1035), without I/O: a question as bytes, and what a reply to it says.

Guaranteed:

- `read_reply` takes any bytes. A reply counts only if its id, its question and its direction fit; what does not is `NotOurs`,
  and what fits but cannot be read is `Garbled`. Nothing else is raised.
- Reading is bounded: DNS_RECORDS_MAX records, DNS_LABELS_MAX labels of names, pointers that only lead backwards.
- Answers are those for the question's name, or for the name that its aliases (CNAME) lead to within the same answer; records of
  other names are not taken for answers. At a question for ANY, they are all records of the name itself.

Names and headers are read here and not by `dns.message`, which spends up to 19 seconds (measured) on one hostile message of
64 KB, and with it the event loop. Record data is dnspython's business.

Not read: extended response codes (RFC 6891; nothing we ask calls for one), the authority section and the additional one, DNSSEC.
"""

import struct
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from demesh.limits import DNS_LABELS_MAX, DNS_RECORDS_MAX, DNS_UDP_BYTES_ANNOUNCED

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_QUERY_OR_REPLY, _TRUNCATED, _RECURSION_DESIRED = 0x8000, 0x0200, 0x0100
_OPCODE_SHIFT, _OPCODE_MASK, _RCODE_MASK = 11, 0xF, 0xF
_POINTER, _LABEL_BYTES_MAX = 0xC0, 63
_EDNS = b"\0" + _RECORD.pack(dns.rdatatype.OPT, DNS_UDP_BYTES_ANNOUNCED, 0, 0)

Labels = tuple[bytes, ...]
"""A name as it is compared: its labels in small letters, without the root's."""


class NotOurs(Exception):
    """Bytes that are no reply to this question: of another id, about another name, or no reply at all."""


class Garbled(Exception):
    """A reply to this question that cannot be read. The message is a phrase without a full stop."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a name and a type, always of class IN."""

    name: dns.name.Name
    type: dns.rdatatype.RdataType
    recursion: bool = True

    @property
    def type_name(self) -> str:
        return dns.rdatatype.to_text(self.type)

    def encode(self, id_: int) -> bytes:
        """The query, with EDNS (RFC 6891) to let replies over UDP be as long as DNS_UDP_BYTES_ANNOUNCED."""
        flags = _RECURSION_DESIRED if self.recursion else 0
        return _HEADER.pack(id_, flags, 1, 0, 0, 1) + self.section() + _EDNS

    def section(self) -> bytes:
        name = b"".join(bytes([len(label)]) + label for label in self.name.labels)
        return name + struct.pack("!HH", self.type, dns.rdataclass.IN)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said. `alias` is where the question's name leads when it is one."""

    rcode: str
    truncated: bool
    records: tuple[dns.rdata.Rdata, ...] = ()
    alias: str = ""


def read_reply(wire: bytes, question: Question, id_: int) -> Reply:
    """Raises NotOurs or Garbled."""
    if len(wire) < _HEADER.size:
        raise NotOurs
    got_id, flags, questions, answers, *_ = _HEADER.unpack_from(wire)
    if got_id != id_ or not flags & _QUERY_OR_REPLY or flags >> _OPCODE_SHIFT & _OPCODE_MASK:
        raise NotOurs
    rcode = dns.rcode.to_text(dns.rcode.Rcode(flags & _RCODE_MASK))
    truncated = bool(flags & _TRUNCATED)
    try:
        reader = _Reader(wire, _HEADER.size)
        if questions == 0 and rcode != "NOERROR":
            return Reply(rcode, truncated)  # a server that could not even read the question, or would not
        if questions != 1 or reader.question() != (_labels(question.name), question.type, dns.rdataclass.IN):
            raise NotOurs
        if truncated:
            return Reply(rcode, truncated)
        return Reply(rcode, truncated, *_answers(reader, question, answers))
    except (IndexError, struct.error, ValueError, dns.exception.DNSException):
        raise Garbled("the answer is not a DNS message that can be read") from None


def show(record: dns.rdata.Rdata) -> str:
    """Presentation form; a name at its end without the final dot."""
    text = record.to_text()
    return text[:-1] if text.endswith(".") and not text.endswith((" .", '"')) and len(text) > 1 else text


def _answers(reader: "_Reader", question: Question, count: int) -> tuple[tuple[dns.rdata.Rdata, ...], str]:
    """The records that answer, and the alias that leads to them."""
    if count > DNS_RECORDS_MAX:
        raise Garbled(f"the answer has {count} records, more than the {DNS_RECORDS_MAX} that are read")
    found: dict[Labels, list[dns.rdata.Rdata]] = {}
    aliases: dict[Labels, Labels] = {}
    for _ in range(count):
        owner, type_, class_, start, length = reader.record()
        if class_ != dns.rdataclass.IN:
            continue
        if question.type in (type_, dns.rdatatype.ANY):
            found.setdefault(owner, []).append(dns.rdata.from_wire(class_, type_, reader.wire, start, length))
        elif type_ == dns.rdatatype.CNAME:
            aliases[owner], _ = reader.name(start)
    name = _labels(question.name)
    for _ in aliases:
        name = aliases.get(name, name) if name not in found else name
    alias = dns.name.Name((*name, b"")).to_text(omit_final_dot=True) if name != _labels(question.name) else ""
    return tuple(found.get(name, ())), alias


def _labels(name: dns.name.Name) -> Labels:
    return tuple(label.lower() for label in name.labels if label)


class _Reader:
    """A place in a message. Reading beyond its end raises IndexError or struct.error; what breaks the rules, ValueError."""

    def __init__(self, wire: bytes, at: int) -> None:
        self.wire = wire
        self._at = at
        self._labels_left = DNS_LABELS_MAX

    def question(self) -> tuple[Labels, int, int]:
        name, at = self.name(self._at)
        self._at = at + 4
        return name, *struct.unpack_from("!HH", self.wire, at)

    def record(self) -> tuple[Labels, dns.rdatatype.RdataType, dns.rdataclass.RdataClass, int, int]:
        """Owner, type, class, and where the data begins and how long it is."""
        owner, at = self.name(self._at)
        type_, class_, _ttl, length = _RECORD.unpack_from(self.wire, at)
        self._at = at + _RECORD.size + length
        if self._at > len(self.wire):
            raise ValueError
        type_, class_ = dns.rdatatype.RdataType(type_), dns.rdataclass.RdataClass(class_)
        return owner, type_, class_, at + _RECORD.size, length

    def name(self, at: int) -> tuple[Labels, int]:
        """The name that begins at `at`, and where it ends."""
        labels: list[bytes] = []
        earliest, end = at, 0
        while length := self.wire[at]:
            if length >= _POINTER:
                end = end or at + 2
                at = (length & ~_POINTER) << 8 | self.wire[at + 1]
                if at >= earliest:
                    raise ValueError
                earliest = at
                continue
            self._labels_left -= 1
            if length > _LABEL_BYTES_MAX or self._labels_left < 0:
                raise ValueError
            labels.append(self.wire[at + 1 : at + 1 + length].lower())
            at += 1 + length
        return tuple(labels), end or at + 1
