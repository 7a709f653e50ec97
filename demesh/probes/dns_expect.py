"""What a DNS reply must be like to pass. Every broken expectation is a phrase that holds the actual value.

What a name server says is public, so records are told as they are (cut to the length of a detail).

- Without an expected `rcode` the reply must be NOERROR with at least one record of the type that was asked: whoever checks
  `A example.org` expects an address. Who names NOERROR as the `rcode` accepts an empty answer too, and so does who asks for ANY.
- `records` must all be among the answers; others may be there too. They are compared as data: names and IPv6 addresses in any
  spelling, with or without the final dot. A TXT record is its strings joined; it may be written with quotes or without.
"""

from collections.abc import Sequence
from functools import lru_cache

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.txtbase import TXTBase

from demesh.errors import UsageError
from demesh.limits import CHECKS_MAX
from demesh.probes.base import Expect
from demesh.probes.dns_message import Question, Reply, show

_SHOWN_MAX = 8
_TEXT_TYPES = (dns.rdatatype.TXT, dns.rdatatype.SPF)

Data = dns.rdata.Rdata | bytes | str
"""Record data in the form it is compared in: strings joined for TXT, text for ANY, where the expected type is not known."""


def check_expectations(expect: Expect, type_: dns.rdatatype.RdataType) -> None:
    """Raises UsageError, a phrase without a full stop, if no reply could ever be held against `expect`."""
    accepted_rcode(expect)
    for text in expect.records:
        try:
            _expected(type_, text)
        except UsageError as error:
            raise UsageError(f"{expect.told(f'records.{text}', text)!r} is {error}") from None


def broken_expectations(expect: Expect, question: Question, reply: Reply) -> dict[str, str]:
    """A phrase for each expectation of the answer that `reply` breaks, by its key; none means it passes."""
    accepted = accepted_rcode(expect)
    if reply.rcode != accepted:
        return {"rcode": f"rcode {reply.rcode}, expected {accepted}"}
    type_ = question.type
    actual = {_comparable(type_, record) for record in reply.records}
    missing = [text for text in expect.records if _expected(type_, text) not in actual]
    if missing:
        shown = _shown(reply.records, reply.alias)
        wanted = ", ".join(expect.told(f"records.{text}", text) for text in missing)
        return {"records": f"no {question.type_name} record {wanted}; got {shown}"}
    if not reply.records and expect.rcode is None and type_ != dns.rdatatype.ANY:
        alias = f", only the alias {reply.alias}" if reply.alias else ""
        return {"records": f"no {question.type_name} record{alias}"}
    return {}


def accepted_rcode(expect: Expect) -> str:
    if expect.rcode is None:
        return "NOERROR"
    try:
        return dns.rcode.to_text(dns.rcode.from_text(expect.rcode))
    except (dns.exception.DNSException, ValueError):
        raise UsageError(f"{expect.rcode!r} is no DNS response code, such as NOERROR or NXDOMAIN") from None


def _shown(records: Sequence[dns.rdata.Rdata], alias: str) -> str:
    if not records:
        return f"only the alias {alias}" if alias else "none"
    more = f" and {len(records) - _SHOWN_MAX} more" if len(records) > _SHOWN_MAX else ""
    return ", ".join(show(record) for record in records[:_SHOWN_MAX]) + more


def _comparable(type_: dns.rdatatype.RdataType, record: dns.rdata.Rdata) -> Data:
    if type_ == dns.rdatatype.ANY:
        return show(record).lower()
    return b"".join(record.strings) if isinstance(record, TXTBase) else record


@lru_cache(CHECKS_MAX)
def _expected(type_: dns.rdatatype.RdataType, text: str) -> Data:
    """Raises UsageError, what it is not, if `text` is no data of this type."""
    if type_ == dns.rdatatype.ANY:
        return text.lower().removesuffix(".")
    if type_ in _TEXT_TYPES and not text.startswith('"'):
        return text.encode()
    try:
        record = dns.rdata.from_text(dns.rdataclass.IN, type_, text, origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, ValueError):
        raise UsageError(f"not the data of a record of type {dns.rdatatype.to_text(type_)}") from None
    return _comparable(type_, record)
