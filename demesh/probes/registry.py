"""All probes by type, each made when it is first asked for, so that nobody waits for the imports of what is not used."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from demesh.clock import packet_ns
from demesh.curl import CurlEngine
from demesh.probes.base import Probe
from demesh.probes.relays import Relays
from demesh.probes.resolving import Resolver


@dataclass(frozen=True, slots=True)
class Tools:
    """What probes share on one node. `wall_ms` (Unix time) only serves to judge certificates."""

    curl: CurlEngine
    wall_ms: Callable[[], int]
    resolver: Resolver
    relays: Relays = field(default_factory=Relays)


def _http(tools: Tools) -> Probe:
    from demesh.probes.http import HttpProbe

    return HttpProbe(tools.curl, tools.wall_ms, tools.resolver)


def _command(_: Tools) -> Probe:
    from demesh.probes.command import CommandProbe

    return CommandProbe()


def _python(_: Tools) -> Probe:
    from demesh.probes.python import PythonProbe

    return PythonProbe()


def _tcp(tools: Tools) -> Probe:
    from demesh.probes.tcp import TcpProbe
    from demesh.probes.tls import TlsContexts

    return TcpProbe(tools.wall_ms, tools.resolver, TlsContexts())


def _dns(tools: Tools) -> Probe:
    from demesh.probes.dns import DnsProbe
    from demesh.probes.tls import TlsContexts

    return DnsProbe(tools.wall_ms, tools.resolver, TlsContexts())


def _ping(tools: Tools) -> Probe:
    from demesh.probes.ping import PingProbe

    return PingProbe(tools.resolver)


def _stun(tools: Tools) -> Probe:
    from demesh.probes.stun import StunProbe
    from demesh.probes.tls import TlsContexts

    return StunProbe(tools.wall_ms, tools.resolver, TlsContexts())


def _turn(tools: Tools) -> Probe:
    from demesh.probes.tls import TlsContexts
    from demesh.probes.turn import TurnProbe

    return TurnProbe(tools.wall_ms, tools.resolver, TlsContexts(), tools.relays)


def _mqtt(tools: Tools) -> Probe:
    from demesh.probes.mqtt import MqttProbe
    from demesh.probes.tls import TlsContexts

    return MqttProbe(tools.wall_ms, tools.resolver, TlsContexts())


def _ntp(tools: Tools) -> Probe:
    from demesh.probes.ntp import NtpProbe

    return NtpProbe(packet_ns, tools.resolver)


_MAKERS: dict[str, Callable[[Tools], Probe]] = {
    "command": _command,
    "http": _http,
    "python": _python,
    "tcp": _tcp,
    "tls": _tcp,
    "dns": _dns,
    "ping": _ping,
    "stun": _stun,
    "turn": _turn,
    "mqtt": _mqtt,
    "ntp": _ntp,
}

TYPES = tuple(_MAKERS)


class Probes(Mapping[str, Probe]):
    """The probe of each type, one for all the types that it serves. Raises KeyError for a type that there is none of."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._made: dict[Callable[[Tools], Probe], Probe] = {}

    def __getitem__(self, type_: str) -> Probe:
        make = _MAKERS[type_]
        probe = self._made.get(make)
        if probe is None:
            probe = self._made[make] = make(self._tools)
        return probe

    def __iter__(self) -> Iterator[str]:
        return iter(_MAKERS)

    def __len__(self) -> int:
        return len(_MAKERS)
