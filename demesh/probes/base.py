"""The whole contract of a probe: a coroutine from a ProbeSpec to a ProbeResult.

A probe never raises for what the target does and never outlives its timeout by more than the time one cancellation takes;
its caller enforces the deadline all the same. A probe that cannot be run on this node answers with Outcome.ERROR.

`ProbeSpec` has what all probes share; what only one type knows is in its `options`, one dataclass a type. Which keys of a
check's table fill them, and which expectations a type knows, is `demesh.config`'s business. What may hold a secret is left out
of the repr of all of these, so that no log line and no failing test tells it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from demesh.outcome import ProbeResult
from demesh.pattern import Pattern

TYPE_OF_SCHEME = {
    "http": "http",
    "https": "http",
    "tcp": "tcp",
    "tls": "tls",
    "dns": "dns",
    "ping": "ping",
    "stun": "stun",
    "stuns": "stun",
    "turn": "turn",
    "turns": "turn",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
    "mqtt+ws": "mqtt",
    "mqtt+wss": "mqtt",
    "ntp": "ntp",
}
"""The probe type that follows from a target's scheme."""


@dataclass(frozen=True, slots=True)
class Expect:
    """What a passing answer looks like; None, or nothing, means no such expectation. A type that has no such thing ignores it."""

    response_time_ms: int | None = None
    cert_expires_in_ms: int | None = None
    status: frozenset[int] | None = None
    """Accepted HTTP status codes; None accepts 200 to 299."""
    body: Pattern | None = None
    """HTTP: searched for in the decoded body."""
    json: tuple[tuple[str, Any], ...] = ()
    """HTTP: JSONPath and the value there, as JSON has it."""
    header: tuple[tuple[str, Pattern], ...] = ()
    """HTTP: a header's name and what is searched for in its value; the header must be there."""
    answer: Pattern | None = None
    """TCP, TLS: searched for in what the target sends (decoded as UTF-8, each undecodable byte as U+FFFD)."""
    rcode: str | None = None
    """DNS: the response code by name; None accepts NOERROR."""
    records: tuple[str, ...] = ()
    """DNS: record data that must all be among the answers, in presentation form without the final dot."""
    offset_ms: int | None = None
    """NTP: how far the server's clock may be from this node's, either way."""
    stratum: int | None = None
    """NTP: the highest that passes."""
    output: Pattern | None = None
    """Command: searched for in its standard output."""
    written: tuple[tuple[str, Any], ...] = field(default=(), compare=False)
    """Of what came from the environment: how it stands in the configuration, by `body`, `header.NAME`, `json.PATH` and so on."""

    def told(self, key: str, value: Any) -> Any:
        """The expected `value` of `key` as others may be told of it."""
        return next((text for written, text in self.written if written == key), value)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    follow_redirects: bool = True
    http_version: Literal["", "1.1", "2"] = ""
    """Empty: HTTP/2 where the server takes it over TLS."""
    proxy: str | None = field(default=None, repr=False)
    """None: no proxy, whatever the environment says."""


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """Of tcp:// and tls:// targets. `starttls` names the protocol that is spoken before the handshake."""

    send: bytes | None = field(default=None, repr=False)
    starttls: Literal["", "smtp", "imap", "pop3", "ftp", "xmpp", "postgres"] = ""
    server_name: str = ""
    """SNI and the name that the certificate must bear; empty: the target's host."""
    alpn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsOptions:
    """Of dns://SERVER/NAME targets; without SERVER this machine's own resolver is asked."""

    record: str = "A"
    transport: Literal["udp", "tcp", "tls"] = "udp"
    recursion: bool = True
    server_name: str = ""
    """For `tls`: the name that the server's certificate must bear; empty: the target's host."""


@dataclass(frozen=True, slots=True)
class PingOptions:
    packets: int = 1
    payload_bytes: int = 32


@dataclass(frozen=True, slots=True)
class StunOptions:
    """`transport` is for targets that name none themselves."""

    transport: Literal["udp", "tcp", "tls"] = "udp"
    server_name: str = ""
    """Of TLS: the name that the server's certificate must bear; empty: the target's host."""
    nat_behaviour: bool = False
    """Whether the four endpoints of RFC 5780 and RFC 3489 must answer; over UDP only."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """`transport` and `server_name` as in StunOptions. Without a user, it is enough that the server asks for one."""

    transport: Literal["udp", "tcp", "tls"] = "udp"
    server_name: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    relay: bool = False
    """Whether another node must reach this one through the server; with a user only."""


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Of mqtt://, mqtts://, mqtt+ws:// and mqtt+wss:// targets. `user` goes before what the target names."""

    version: Literal["3.1.1", "5"] = "3.1.1"
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    topic: str = ""
    """What the random topic of each run lies beneath; empty: `demesh`."""


@dataclass(frozen=True, slots=True)
class CommandOptions:
    argv: tuple[str, ...] = field(repr=False)
    output: Literal["nagios", "json"] = "nagios"
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class PythonOptions:
    """`entry` is `package.module:function` or the name of an entry point in the group `demesh.checks`."""

    entry: str
    arguments: tuple[tuple[str, Any], ...] = field(default=(), repr=False)


Options = (
    HttpOptions
    | TcpOptions
    | DnsOptions
    | PingOptions
    | StunOptions
    | TurnOptions
    | MqttOptions
    | CommandOptions
    | PythonOptions
)


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One target and how to probe it. `target` may carry secrets; nothing of it but `public_target` may be shown."""

    type: str
    target: str = field(repr=False)
    timeout_ms: int
    expect: Expect = field(default_factory=Expect, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    ip_version: Literal[0, 4, 6] = 0
    """Which addresses of a name may be tried; 0: the machine's preference, and one of the other family if that fails."""
    options: Options | None = None
    """None: the defaults of the type."""
    show_actual: bool = False
    """Whether actual values of bodies, headers and JSON may be told; otherwise their length and a keyed hash."""
    actual_key: bytes = field(default=b"", repr=False)
    """The key of that hash: equal on all nodes of a mesh, so that equal answers are seen to be equal."""
    all_addresses: bool = False
    """Whether a name is asked at each of its addresses (`demesh.probes.each_address`)."""
    spent_ms: int = 0
    """How much of the timeout was over when the probe was called."""

    def deadline_s(self, now_s: float) -> float:
        """When a run that is called now has to end, on the clock of `now_s`."""
        return now_s + (self.timeout_ms - self.spent_ms) / 1000


Probe = Callable[[ProbeSpec], Awaitable[ProbeResult]]
