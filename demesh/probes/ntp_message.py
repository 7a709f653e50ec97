"""NTP packets (RFC 5905, section 7.3): question and reply, and whether the reply can be believed. Pure; `ntplib` has the codec.

Guaranteed:

- The question tells nothing of this node: its transmit timestamp is a random number, which a reply must repeat as its origin
  timestamp. Who does not see the question cannot forge a reply. All else in it is at its default.
- A reply is held against what RFC 5905 asks of one (A.5.1.1): its length, mode and version, its timestamps, and that its
  server is synchronised, within NTP_ROOT_DISTANCE_MS_MAX of true time by its own account.
- Times of the next eras (2036 and later) are read right, as long as the two clocks are less than 68 years apart.

Not guaranteed: that a server tells the truth. NTP without NTS is not signed.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from ntplib import NTP, NTPException, NTPPacket, NTPStats

from demesh.limits import NTP_CONTRADICTION_MS_MAX, NTP_ROOT_DISTANCE_MS_MAX
from demesh.outcome import Outcome
from demesh.probes.first_answer import BadAnswer

PACKET_BYTES = 48
NONCE_BYTES = 8
_REFERENCE, _ORIGIN, _TRANSMIT = slice(12, 16), slice(24, 32), slice(40, 48)
_VERSION = 4
_VERSIONS_READ = (3, 4)
_CLIENT, _SERVER = 3, 4
_UNSYNCHRONISED_LEAP = 3
_STRATUM_MAX = 15
_ERA_S = 2**32

_LEAPS = {0: "none", 1: "a second more today", 2: "a second less today", _UNSYNCHRONISED_LEAP: "unsynchronised"}
_NOT_YET_SYNCHRONISED = (b"\0\0\0\0", b"INIT", b"STEP")
_KISSES = {
    "RATE": "it was asked too often",
    "DENY": "it does not serve this node",
    "RSTR": "it does not serve this node",
    "NKEY": "it wants a key",
    "AUTH": "it wants a key",
    "CRYP": "it wants a key",
    "NTSN": "it wants NTS",
}
"""What a kiss code (RFC 5905, section 7.4) means for who asks."""


class KissOfDeath(BadAnswer):
    """A server will not serve us, and is not to be asked again soon (RFC 5905, section 7.4)."""


class NotOurs(Exception):
    """A datagram that is no reply to what was asked. The message is a clause that ends `ignored N that …`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says of itself, and how its clock stands to ours. Times in seconds."""

    offset_s: float
    """By how much its clock is ahead of ours."""
    delay_s: float
    """The round trip, less what the server took for itself."""
    stratum: int
    leap: int
    root_delay_s: float
    root_dispersion_s: float
    reference: str

    @property
    def root_distance_s(self) -> float:
        """How far from true time its clock may be at most, by its own account."""
        return self.root_delay_s / 2 + self.root_dispersion_s

    def facts(self) -> dict[str, str]:
        return {
            "offset_ms": f"{self.offset_s * 1_000:+.3f}",
            "delay_ms": f"{self.delay_s * 1_000:.3f}",
            "stratum": str(self.stratum),
            "leap": _LEAPS[self.leap],
            "reference": self.reference,
            "root_delay_ms": f"{self.root_delay_s * 1_000:.3f}",
            "root_dispersion_ms": f"{self.root_dispersion_s * 1_000:.3f}",
        }


def encode_request(nonce: bytes) -> bytes:
    """A client's packet with `nonce`, NONCE_BYTES long, for a transmit timestamp."""
    packet: bytes = NTPPacket(version=_VERSION, mode=_CLIENT).to_data()
    return packet[: _TRANSMIT.start] + nonce


def origin_of(data: bytes) -> bytes:
    """The nonce that a datagram answers. Raises NotOurs for one that can answer none."""
    if len(data) < _ORIGIN.stop:
        raise NotOurs("are too short to be NTP")
    return data[_ORIGIN]


def read_reply(data: bytes, sent_unix_s: float, arrived_unix_s: float) -> Reply:
    """The reply in a datagram that bears our nonce, which was sent and which arrived at these times of our wall clock.

    Raises BadAnswer for what is no reply of a time server that serves us, KissOfDeath if it says that it does not.
    """
    stats: Any = NTPStats()  # ntplib has no types
    try:
        stats.from_data(data)
    except NTPException:
        said = f"the answer has {len(data)} bytes, fewer than the {PACKET_BYTES} of an NTP packet"
        raise BadAnswer(Outcome.FAIL, said) from None
    if stats.mode != _SERVER:
        raise BadAnswer(Outcome.FAIL, f"the answer is of mode {stats.mode}, not of a server (mode {_SERVER})")
    if stats.version not in _VERSIONS_READ:
        raise BadAnswer(Outcome.FAIL, f"the answer is of NTP version {stats.version}")
    reference = data[_REFERENCE]
    if stats.stratum == 0 and reference not in _NOT_YET_SYNCHRONISED:
        raise _kiss(reference)
    if stats.stratum != 0 and not (any(data[_TRANSMIT]) and stats.recv_timestamp):
        raise BadAnswer(Outcome.FAIL, "the answer tells no time: a timestamp in it is zero")
    stats.orig_timestamp, stats.dest_timestamp = sent_unix_s + NTP.NTP_DELTA, arrived_unix_s + NTP.NTP_DELTA
    stats.recv_timestamp = _in_era(stats.recv_timestamp, stats.orig_timestamp)
    stats.tx_timestamp = _in_era(stats.tx_timestamp, stats.orig_timestamp)
    reply = Reply(
        offset_s=stats.offset,
        delay_s=max(stats.delay, 0.0),
        stratum=stats.stratum,
        leap=stats.leap,
        root_delay_s=stats.root_delay,
        root_dispersion_s=stats.root_dispersion,
        reference=_reference(reference, stats.stratum),
    )
    backwards_s = max(stats.recv_timestamp - stats.tx_timestamp, -stats.delay)
    if _synchronised(reply) and backwards_s * 1_000 > NTP_CONTRADICTION_MS_MAX:
        raise BadAnswer(Outcome.FAIL, "the answer contradicts itself: its server took longer than its answer did")
    return reply


def unfit(reply: Reply) -> dict[str, str]:
    """Why nobody should take the time from this server: a phrase for each reason, by its name; empty if one can."""
    if reply.leap == _UNSYNCHRONISED_LEAP:
        return {"leap": f"the server is not synchronised (leap {reply.leap}, stratum {reply.stratum})"}
    if not _synchronised(reply):
        return {"stratum": f"the server is not synchronised (stratum {reply.stratum})"}
    distance_ms = reply.root_distance_s * 1_000
    if distance_ms > NTP_ROOT_DISTANCE_MS_MAX:
        may_be = f"the server may be {distance_ms:,.0f} ms from true time by its own account"
        return {"root_distance": f"{may_be}; more than {NTP_ROOT_DISTANCE_MS_MAX:,} ms is of no use"}
    return {}


def _synchronised(reply: Reply) -> bool:
    return reply.leap != _UNSYNCHRONISED_LEAP and 1 <= reply.stratum <= _STRATUM_MAX


def _in_era(stamp_s: float, near_s: float) -> float:
    """The time nearest to `near_s` of which `stamp_s` is what is left within an era."""
    return near_s + (stamp_s - near_s + _ERA_S / 2) % _ERA_S - _ERA_S / 2


def _kiss(code: bytes) -> KissOfDeath:
    text = code.rstrip(b"\0").decode("ascii", "replace")
    if not (text.isascii() and text.isalnum()):
        return KissOfDeath(Outcome.FAIL, "the server refuses, with a code that is none")
    because = f": {_KISSES[text]}" if text in _KISSES else ""
    return KissOfDeath(Outcome.FAIL, f"the server refuses ({text}){because}")


def _reference(reference: bytes, stratum: int) -> str:
    """What a server takes its own time from: the name of a clock, or an IPv4 address (of IPv6 ones a hash in that form)."""
    if stratum <= 1:
        text = reference.rstrip(b"\0").decode("ascii", "replace")
        return text if text.isascii() and text.isprintable() else reference.hex()
    return str(IPv4Address(reference))
