"""All probes by type, each made when it is first asked for, so that nobody waits for the imports of what is not used."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import trio

from demesh.clock import packet_ns
from demesh.curl import CurlEngine
from demesh.limits import OTHER_ADDRESSES_MAX
from demesh.probes.base import Probe
from demesh.probes.each_address import EachAddress
from demesh.probes.relays import Relays
from demesh.probes.resolving import Resolver

_Resolving = Callable[[Resolver], Probe]
"""Makes the probe that uses a resolver; what is costly, all that it makes share."""


def _places() -> trio.Semaphore:
    return trio.Semaphore(OTHER_ADDRESSES_MAX)


@dataclass(frozen=True, slots=True)
class Tools:
    """What probes share on one node. `wall_ms` (Unix time) only serves to judge certificates."""

    curl: CurlEngine
    wall_ms: Callable[[], int]
    resolver: Resolver
    relays: Relays = field(default_factory=Relays)
    other_addresses: trio.Semaphore = field(default_factory=_places)
    """Places of those that are asked besides the first one of a name."""


def _command(_: Tools) -> Probe:
    from demesh.probes.command import CommandProbe

    return CommandProbe()


def _python(_: Tools) -> Probe:
    from demesh.probes.python import PythonProbe

    return PythonProbe()


def _http(tools: Tools) -> Probe:
    from demesh.probes.http import HttpProbe

    return _each_address(tools, lambda resolver: HttpProbe(tools.curl, tools.wall_ms, resolver))


def _tcp(tools: Tools) -> Probe:
    from demesh.probes.tcp import TcpProbe
    from demesh.probes.tls import TlsContexts

    contexts = TlsContexts()
    return _each_address(tools, lambda resolver: TcpProbe(tools.wall_ms, resolver, contexts))


def _dns(tools: Tools) -> Probe:
    from demesh.probes.dns import DnsProbe
    from demesh.probes.tls import TlsContexts

    contexts = TlsContexts()
    return _each_address(tools, lambda resolver: DnsProbe(tools.wall_ms, resolver, contexts))


def _ping(tools: Tools) -> Probe:
    from demesh.probes.ping import PingProbe

    return _each_address(tools, PingProbe)


def _stun(tools: Tools) -> Probe:
    from demesh.probes.stun import StunProbe
    from demesh.probes.tls import TlsContexts

    contexts = TlsContexts()
    return _each_address(tools, lambda resolver: StunProbe(tools.wall_ms, resolver, contexts))


def _turn(tools: Tools) -> Probe:
    from demesh.probes.tls import TlsContexts
    from demesh.probes.turn import TurnProbe

    contexts = TlsContexts()
    return _each_address(tools, lambda resolver: TurnProbe(tools.wall_ms, resolver, contexts, tools.relays))


def _mqtt(tools: Tools) -> Probe:
    from demesh.probes.mqtt import MqttProbe
    from demesh.probes.tls import TlsContexts

    contexts = TlsContexts()
    return _each_address(tools, lambda resolver: MqttProbe(tools.wall_ms, resolver, contexts))


def _ntp(tools: Tools) -> Probe:
    from demesh.probes.ntp import NtpProbe

    return _each_address(tools, lambda resolver: NtpProbe(packet_ns, resolver))


def _each_address(tools: Tools, make: _Resolving) -> Probe:
    return EachAddress(make, tools.resolver, tools.other_addresses)


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
