"""What a probe's result means, for the person who looks at it: one sentence, and what became of each expectation.

It reads only what the result says, so it works for probes of every type: for a detail that it does not know there is a
sentence about the outcome.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import Expect, HttpOptions, ProbeSpec
from demesh.probes.expectations import duration
from demesh.probes.http_expect import ranges

_PORTS = {
    "http": 80,
    "https": 443,
    "mqtt": 1883,
    "mqtts": 8883,
    "mqtt+ws": 80,
    "mqtt+wss": 443,
    "ntp": 123,
    "stun": 3478,
    "stuns": 5349,
    "turn": 3478,
    "turns": 5349,
}
_NOT_THE_TARGET = "it says nothing about the target"
# The first that occurs in a detail decides.
_MEANINGS: tuple[tuple[str, str], ...] = (
    ("connection to its proxy", f"This machine does not reach the proxy that the check names; {_NOT_THE_TARGET}."),
    ("connection refused", "The host is up, but nothing listens on {port}, or a firewall says no in its name."),
    ("connection reset", "The other side cut the connection: a service that crashed, or a firewall on the way."),
    ("host unreachable", "A router on the way, or this machine's own network, says that nothing is at that address."),
    (
        "no answer to the connection attempt",
        "Nothing comes back: the host is off, or a firewall drops what goes to {port}.",
    ),
    ("still connecting", "Nothing comes back: the host is off, or a firewall drops what goes to {port}."),
    (
        "still in the TLS handshake",
        "{Port} is open, but what listens there does not finish a TLS handshake: slow, or not TLS at all.",
    ),
    (
        "still waiting for the first byte",
        "The service took the request and has not begun to answer: overloaded, or stuck.",
    ),
    ("still reading the answer", "The answer began and did not end in time: slow, large, or without an end."),
    ("no public address", "Seen from there the name leads to no address in the public Internet."),
    ("no such host", "The name has no address in DNS: a typing error, or a name that expired."),
    ("the host name has no IPv", "DNS has addresses of the other family only for this name."),
    ("though the resolver answers", "The DNS servers of that name give no answer; other names can be looked up."),
    (
        "no resolver answers",
        f"This machine can look up no name: see its DNS settings and its network; {_NOT_THE_TARGET}.",
    ),
    ("was not resolved within", "DNS is answering too slowly, here or at the servers of that name."),
    ("no network", f"This machine has no way to that address; {_NOT_THE_TARGET}."),
    ("out of file descriptors", "Too many files and sockets are open in this process; raise its limit (ulimit -n)."),
    ("not allowed to connect", f"A rule of this machine (a firewall, a sandbox) forbids it; {_NOT_THE_TARGET}."),
    ("certificate has expired", "The certificate needs to be renewed; every client refuses it by now."),
    (
        "certificate is not yet valid",
        "The certificate begins later: it was made on another clock, or this machine's is wrong.",
    ),
    ("certificate is for another", "The server shows a certificate that does not bear the name or address asked for."),
    (
        "self-signed and not trusted",
        "Nobody whom this machine trusts has signed it; name it as a CA file if it is yours.",
    ),
    (
        "not trusted",
        "Nobody trusted here has signed the certificate: a private CA (name its CA file), or one in between is not sent.",
    ),
    ("has been revoked", "Who signed the certificate has taken it back."),
    ("not meant for a server", "The certificate was made for another purpose than a server's."),
    ("file of CA certificates", "The path is wrong, this user may not read it, or it holds no certificates in PEM."),
    ("TLS handshake failed", "No TLS version or cipher in common, or what listens on {port} does not speak TLS."),
    ("no TLS cipher", "The server wants ciphers that are no longer offered."),
    ("port unreachable", "The host is up, but nothing listens on {port}, or a firewall says no in its name."),
    ("refuses the user or the password", "The login that the check has is wrong, or has run out."),
    ("of 4 endpoints failed", "The server answers, but clients cannot find out with it which NAT they are behind."),
    ("this node's NAT", f"Ask from a node behind another NAT, or none; {_NOT_THE_TARGET}."),
    ("the answer is not STUN", "Something else than a STUN server listens on {port}."),
    ("the answer is not HTTP", "Something else than a web server listens on {port}."),
    (
        "closed without an answer",
        "Something listens on {port} and hangs up: a crash, a TLS port asked without TLS, or a filter.",
    ),
    ("before the answer was complete", "The server hung up in the middle: a crash, or a length that it had wrong."),
    ("that answer another", "Somebody sends answers to what was not asked: a forger, or a server that is broken."),
    ("refuses the connection: wrong user or password", "The broker knows no such login: look at user and password."),
    ("refuses the connection: not authorized", "The broker wants a login that it did not get, or a right one."),
    ("does not let it publish", "The login may not publish beneath the check's topic."),
    ("does not let it subscribe", "The login may not subscribe beneath the check's topic."),
    (
        "still waiting for its own message",
        "The broker takes messages and does not hand this one on: what is published there may be forbidden to this login.",
    ),
    ("the answer is not MQTT", "Something else than an MQTT broker listens on {port}, or it wants TLS."),
    ("refuses a WebSocket", "A web server listens on {port} that has no MQTT at the target's path."),
    (
        "answer no question of this node",
        "Datagrams come from there that answer nothing: a server that is broken, or somebody who forges replies.",
    ),
    ("the server refuses (RATE)", "The server is asked too often from this address: use a longer interval."),
    ("the server refuses (", "The server says that it does not serve this node."),
    ("more than was asked for", "The broker does not stop to send: it is broken, or hostile."),
    ("more than", "The server redirects in a circle, or nearly."),
    (
        "with a body to another host",
        "What the check sends might be secret, so it goes nowhere but where the check says.",
    ),
    ("redirects to", "The server sends its visitors where this probe does not follow."),
    ("proxy wants another login", f"The login in the proxy's URL is missing or wrong; {_NOT_THE_TARGET}."),
    ("proxy", "The way through the proxy ends before the target; see the proxy's own log."),
)
_OTHERWISE = {
    Outcome.PASS: "",
    Outcome.FAIL: "The target gives no proper answer.",
    Outcome.MISMATCH: "The target answers, but not as expected.",
    Outcome.TIMEOUT: "The target does not answer in time.",
    Outcome.ERROR: f"This machine could not run the probe; {_NOT_THE_TARGET}.",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """An expectation of a check, and whether the answer held it: None if there was no answer to hold it against."""

    key: str
    stated: str
    held: bool | None
    said: str = ""
    """How it was broken."""


def meaning(result: ProbeResult, target: str) -> str:
    """One sentence on what `result` means; empty for a pass. Nothing of `target` but its port is in it."""
    if result.outcome == Outcome.MISMATCH and "status" in result.broken and result.status:
        return f"The server answers, with {_status(result.status)}."
    if result.outcome in (Outcome.FAIL, Outcome.TIMEOUT, Outcome.ERROR) or not result.broken:
        for phrase, sentence in _MEANINGS:
            if phrase in result.detail:
                port = "that port" if result.detail.startswith("after ") else _port(target)
                return sentence.format(port=port, Port=port[0].upper() + port[1:])
    return _OTHERWISE[result.outcome]


def judged(spec: ProbeSpec, result: ProbeResult) -> list[Judged]:
    """Every expectation of `spec`, in the order of its fields."""
    known = result.outcome == Outcome.PASS or bool(result.broken)
    return [
        Judged(key, stated, (key not in result.broken) if known else None, result.broken.get(key, ""))
        for key, stated in _stated(spec)
    ]


def _stated(spec: ProbeSpec) -> Iterator[tuple[str, str]]:
    """Key and phrase of each expectation; the keys are those of `ProbeResult.broken`."""
    expect = spec.expect
    if expect.status is not None:
        yield "status", f"status is {ranges(expect.status)}"
    elif spec.type == "http":
        yield "status", "status is 200-299"
    if isinstance(spec.options, HttpOptions) and spec.options.http_version:
        yield "http_version", f"HTTP/{spec.options.http_version} is spoken"
    for name, pattern in expect.header:
        yield f"header.{name}", f"header {name} matches {_pattern(f'header.{name}', pattern, expect)}"
    for key, pattern in (("body", expect.body), ("answer", expect.answer), ("output", expect.output)):
        if pattern is not None:
            yield key, f"{key} matches {_pattern(key, pattern, expect)}"
    for path, value in expect.json:
        yield f"json.{path}", f"json {path} is {json.dumps(expect.told(f'json.{path}', value), ensure_ascii=False)}"
    if expect.rcode is not None:
        yield "rcode", f"the response code is {expect.rcode}"
    if expect.records:
        yield (
            "records",
            f"among the records: {', '.join(expect.told(f'records.{record}', record) for record in expect.records)}",
        )
    if expect.offset_ms is not None:
        yield "offset", f"the clocks are at most {expect.offset_ms} ms apart"
    if expect.stratum is not None:
        yield "stratum", f"the stratum is at most {expect.stratum}"
    if expect.response_time_ms is not None:
        yield "response_time", f"the response takes at most {expect.response_time_ms} ms"
    if expect.cert_expires_in_ms is not None:
        yield "cert_expires_in", f"the certificate lasts another {duration(expect.cert_expires_in_ms)}"


def _pattern(key: str, pattern: Pattern, expect: Expect) -> str:
    return f"/{expect.told(key, pattern.text)}/"


def _port(target: str) -> str:
    parts = urlsplit(target)
    number = parts.port or _PORTS.get(parts.scheme)
    return f"port {number}" if number else "that port"


def _status(status: int) -> str:
    try:
        return f"status {status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return f"status {status}"
