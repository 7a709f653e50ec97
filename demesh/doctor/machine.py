"""What the machine must give a node: a clock, rights, names, room on the disk, ports."""

import ctypes
import importlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from demesh.address import address_text
from demesh.doctor.finding import Finding, bad, good, warning

_TIMEX_BYTES = 208
_TIMEX_MAXERROR, _TIMEX_STATUS = slice(24, 32), slice(40, 44)
_STA_UNSYNC = 0x40
_FREE_BYTES_LOW, _FREE_BYTES_NONE = 500_000_000, 50_000_000
CONNECT_SECONDS = 2
_ELSEWHERE = {"IPv4": "8.8.8.8", "IPv6": "2001:4860:4860::8888"}
"""A public address of each family, to which a route leads if one leads anywhere."""


def clock() -> Sequence[Finding]:
    """Whether something keeps the wall clock right: the kernel knows (adjtimex(2); the layout is that of 64-bit Linux)."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        return [warning("clock", "cannot be asked whether it is synchronised.", "Run chronyd or systemd-timesyncd.")]
    status = int.from_bytes(buffer.raw[_TIMEX_STATUS], "little")
    if status & _STA_UNSYNC:
        return [
            warning(
                "clock",
                "is not synchronised: certificates are judged and results dated by it.",
                "Run chronyd or systemd-timesyncd; in a container, on the host.",
            )
        ]
    error_ms = int.from_bytes(buffer.raw[_TIMEX_MAXERROR], "little") / 1_000
    return [good("clock", f"is synchronised (within {error_ms:.0f} ms).")]


def ping() -> Sequence[Finding]:
    """Whether ping checks can run here."""
    try:
        rights = importlib.import_module("demesh.probes.rights")
    except ModuleNotFoundError:
        return []
    found: Any = rights.ping_rights()
    if found.way != "none":
        return [good("ping", f"is allowed ({found.way} socket).")]
    remedy = "Allow it with sysctl net.ipv4.ping_group_range='0 2147483647', or CAP_NET_RAW; only ping checks need it."
    return [warning("ping", f"{found.reason.partition(':')[0]}.", remedy)]


def families() -> Sequence[Finding]:
    """Whether there is a way to the Internet over IPv4 and IPv6, by this machine's routes; nothing is sent."""
    ways = {family: _source(address) for family, address in _ELSEWHERE.items()}
    found = [f"{family} from {source}" for family, source in ways.items() if source]
    if not found:
        remedy = "Look at its routes (ip route; ip -6 route) if it is to check anything beyond its own network."
        return [warning("routes", "lead to no public address, neither over IPv4 nor over IPv6.", remedy)]
    missing = "".join(
        f"; none over {family}: what is checked over that counts for nobody"
        for family, source in ways.items()
        if not source
    )
    return [good("routes", f"lead to the Internet over {' and '.join(found)}{missing}.")]


def _source(address: str) -> str:
    """The own address from which that one would be asked; empty without a route. A local one of IPv6 is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as unsent:
            unsent.connect((address, 53))
            source = str(unsent.getsockname()[0])
    except OSError:
        return ""
    return source if family == socket.AF_INET or ip_address(source.partition("%")[0]).is_global else ""


def disk(path: Path, store_bytes: int) -> Sequence[Finding]:
    """Room where the store is."""
    there = next(each for each in (path, *path.parents) if each.exists())
    status = os.statvfs(there)
    free = status.f_bavail * status.f_frsize
    said = f"{_size(free)} free at {there}; the store has {_size(store_bytes)}."
    if free < _FREE_BYTES_NONE:
        return [bad("disk", said, "Make room: a node that cannot write ends.")]
    if free < _FREE_BYTES_LOW:
        return [warning("disk", said, "Make room, or move the data directory.")]
    return [good("disk", said)]


def port(topic: str, addresses: Iterable[tuple[str, int]], option: str) -> Sequence[Finding]:
    """Whether a node could listen there; `option` is what names another address."""
    findings: list[Finding] = []
    for host, number in addresses:
        where = address_text(host, number)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, number))
                findings.append(good(topic, f"{where} is free."))
            except PermissionError:
                findings.append(bad(topic, f"No permission to listen on {where}.", f"Choose another with {option}."))
            except OSError as error:
                said = f"{where} cannot be listened on: {error.strerror or 'there is no such address'}."
                findings.append(
                    bad(topic, said, f"Stop what uses it (`ss -ltnp` names it), or choose another with {option}.")
                )
    return findings


def names(hosts: Sequence[str]) -> Sequence[Finding]:
    """Whether the names that the configuration uses can be resolved."""
    if not hosts:
        return [good("names", "none to resolve: the configuration uses addresses only.")]
    failed = _failures(_resolve, hosts)
    if not failed:
        return [good("names", f"can be resolved ({len(hosts)} asked).")]
    remedy = "Check /etc/resolv.conf." if len(failed) == len(hosts) else "Check how they are written, or their DNS."
    finding = bad if len(failed) == len(hosts) else warning
    return [finding("names", f"cannot be resolved: {', '.join(failed)}.", remedy)]


def reachable(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """Those of `addresses` to which no TCP connection can be made, with the reason."""
    return _failures(_connect, addresses)


def _failures(attempt: Callable[[Any], None], items: Sequence[Any]) -> list[str]:
    """Those of `items` at which `attempt` raises OSError, and why. All are tried at once, in threads that nobody waits for."""
    said: dict[int, str] = {}

    def run(place: int, item: Any) -> None:
        try:
            attempt(item)
        except OSError as error:
            name = item if isinstance(item, str) else address_text(*item)
            said[place] = f"{name} ({(error.strerror or str(error)).lower()})"

    threads = [threading.Thread(target=run, args=(place, item), daemon=True) for place, item in enumerate(items)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [said[place] for place in sorted(said)]


def _resolve(host: str) -> None:
    socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _connect(address: tuple[str, int]) -> None:
    socket.create_connection(address, CONNECT_SECONDS).close()


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
