"""What belongs to one node: its files, its configuration, whom it would tell, and what it says itself if it runs."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from demesh.config.load import Settings, read_settings
from demesh.doctor.finding import Finding, bad, good, warning
from demesh.doctor.machine import reachable
from demesh.errors import ConfigError, DemeshError, UsageError
from demesh.home import Home, Running
from demesh.limits import CLOCK_SKEW_MS_MAX
from demesh.swarm_key_files import SwarmKeyFiles
from demesh.target import public_target

_SKEW_SECONDS = 5
_LATELY_SECONDS = 86_400
_PORTS = {"http": 80, "https": 443}


def configuration(home: Home) -> tuple[Settings | None, list[Finding]]:
    """The settings, None if they are bad, and what is wrong with them."""
    try:
        if not home.config.exists():
            return Settings("node"), [good("config", "there is none, and none is needed; `demesh init` makes one.")]
        settings = read_settings(home.config)
    except ConfigError as error:
        return None, [
            bad("config", problem, "Correct it; a running node keeps its last good one.") for problem in error.problems
        ]
    except (DemeshError, OSError) as error:
        return None, [bad("config", f"{home.config}: {error}", "Correct it.")]
    return settings, [good("config", f"{home.config} is valid: {len(settings.checks)} checks.")]


def files(home: Home) -> Sequence[Finding]:
    """Whether the data directory is this user's and nobody else's to read."""
    if not home.exists:
        return [warning("home", f"{home.path} holds no node yet.", "demesh init, or demesh node run")]
    findings: list[Finding] = []
    # Root looks at a service's home, too, and then it is the service's user to whom all must belong.
    user = os.geteuid() or home.path.stat().st_uid
    for path in (home.path, home.node_key, home.swarm_key, home.swarm_key_change, home.tokens):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        mode = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        if status.st_uid != user:
            remedy = f"Run as the user it belongs to, or chown it: chown -R {user} {home.path}"
            findings.append(bad("home", f"{path} belongs to another user (id {status.st_uid}).", remedy))
        elif status.st_mode & 0o077:
            others = f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})."
            finding = warning if mode == 0o700 else bad
            findings.append(finding("home", others, f"chmod {mode:o} {path}"))
    return findings or [good("home", f"{home.path} is {'this' if user == os.geteuid() else 'its'} user's alone.")]


def swarm_key(home: Home, settings: Settings, node: Running | None = None) -> Sequence[Finding]:
    """Whether the secret is there that lets nodes connect."""
    if node and node.swarm_key_file and not os.access(node.swarm_key_file, os.R_OK):
        return [good("swarm key", f"the node has it from {node.swarm_key_file}, which this user may not read.")]
    path = settings.swarm_key_file or home.swarm_key
    if not path.exists():
        if settings.peers or home.mesh_id.exists():
            remedy = (
                f"Copy swarm.key from a node of the mesh to {path}, mode 0600, or join anew with a `demesh invite`. If the "
                "node has it from elsewhere, name that file: demesh doctor --swarm-key-file FILE"
            )
            return [bad("swarm key", f"{path} is missing.", remedy)]
        return [good("swarm key", "none yet: the first start makes one.")]
    try:
        keys = SwarmKeyFiles(home, settings.swarm_key_file).read()
        if keys.overruled:
            old = f"{path} is the old key; the node uses {keys.current.fingerprint}."
            return [
                warning(
                    "swarm key", old, f"Copy swarm.key to {path} from a member that keeps it in its data directory."
                )
            ]
        if keys.change:
            said = f"changes from {keys.current.fingerprint} to {keys.newest.fingerprint}."
            return [warning("swarm key", said, "demesh swarm-key rotate --status says who is missing.")]
        return [good("swarm key", f"{path} (fingerprint {keys.current.fingerprint}).")]
    except UsageError as error:
        return [bad("swarm key", str(error), "Copy it from a node of the mesh.")]


def peers(settings: Settings) -> Sequence[Finding]:
    """Whether the configured peers can be connected to."""
    if not settings.peers:
        return [good("peers", "none configured: this node waits for others.")]
    failed = reachable([(peer.host, peer.port) for peer in settings.peers])
    count = len(settings.peers)
    if not failed:
        return [good("peers", f"all {count} configured can be connected to.")]
    remedy = "See that they run, and that no firewall is between. One that can be reached is enough."
    finding = bad if len(failed) == count else warning
    return [finding("peers", f"no connection to {', '.join(failed)}.", remedy)]


def sinks(settings: Settings) -> Sequence[Finding]:
    """Who would be told, and whether they are there."""
    if not settings.alertmanagers and not settings.sinks:
        remedy = "Name an Alertmanager ([alerts] alertmanager in demesh.toml, or --alertmanager URL), or a [[notify]]."
        return [warning("alerts", "by the configuration, nobody will be told when something fails.", remedy)]
    failed = reachable([_address(url) for url in _sink_urls(settings)])
    told = ", ".join((*map(public_target, settings.alertmanagers), *(sink.name for sink in settings.sinks)))
    if failed:
        return [bad("alerts", f"go to {told}; no connection to {', '.join(failed)}.", "See that it runs.")]
    return [good("alerts", f"go to {told}.")]


def _sink_urls(settings: Settings) -> list[str]:
    """Of those whose URL says where they are; Apprise knows of its own where a service is."""
    return [*settings.alertmanagers, *(sink.url for sink in settings.sinks if sink.is_webhook)]


def nat(settings: Settings) -> Sequence[Finding]:
    """The NAT that this machine is behind, if one of the checks names a STUN server that can be asked for it."""
    from demesh.probes.base import StunOptions
    from demesh.probes.stun_target import parse_target

    servers = [
        (check.listed, options, check.probe.target)
        for check in settings.checks
        if isinstance(options := check.probe.options, StunOptions)
    ]
    # Those of a list may be dead; those that are checked for it know how to be asked.
    for _, options, target in sorted(servers, key=lambda each: (each[0], not each[1].nat_behaviour)):
        with suppress(UsageError):
            place, transport = parse_target(target, options.transport)
            if transport == "udp" and ":" not in place.host:
                return [_nat_finding(place.host, place.port)]
    return []


def _nat_finding(host: str, port: int) -> Finding:
    from demesh.nat_type import UNKNOWN, find_nat_type

    found = find_nat_type(host, port)
    seen = f"; from outside this machine is {found.external}" if found.external else ""
    if found.word == "blocked":
        remedy = "Allow outgoing UDP, or name another STUN server first; only checks over UDP need it."
        return warning("NAT", f"{host} cannot be asked over UDP.", remedy)
    if found.word == UNKNOWN:
        return good("NAT", f"its type is not known ({found.why}, says {host}){seen}.")
    return good("NAT", f"{found.word}, by {host}{seen}.")


def hosts(settings: Settings) -> list[str]:
    """The names, not addresses, that the configuration uses, but for those of lists: of these many are dead, by rights."""
    targets = [urlsplit(check.probe.target).hostname for check in settings.checks if not check.listed]
    found = [*targets, *(peer.host for peer in settings.peers), *(_address(url)[0] for url in _sink_urls(settings))]
    return sorted({host for host in found if host and not _is_address(host)})


def running(
    home: Home, node: Running | None, answer: dict[str, Any] | DemeshError | None, *, held: bool = False
) -> Iterator[Finding]:
    """What the node says of itself; `answer` is its status, or why there is none. `held`: somebody has the home, silently."""
    if node is None and held:
        said = f"one is about to start on {home.path}, or a command holds that."
        yield warning("node", said, "Wait; the log of the node says whether it looks for a member of its mesh.")
        return
    if node is None:
        yield warning("node", f"none is running on {home.path}.", "demesh node run")
        return
    if not isinstance(answer, dict) and node.starting:
        yield warning(
            "node", f"pid {node.pid} is starting and does not answer yet.", "Its log says what takes its time."
        )
        return
    if not isinstance(answer, dict):
        yield bad("node", f"pid {node.pid} runs but does not answer: {answer}", "Look at its log; restart it.")
        return
    yield good("node", f"{answer['node']} (pid {node.pid}) runs and answers.")
    yield from _network(answer)
    yield from _own_clock(answer)
    others = [each for each in answer["nodes"] if each["name"] != answer["node"]]
    silent = [each["name"] for each in others if each["presence"] == "silent"]
    if silent:
        yield warning("members", f"silent: {', '.join(silent)}.", "Look there; `demesh status` says since when.")
    else:
        alive = sum(each["presence"] in ("alive", "suspect") for each in others)
        yield good("members", f"{alive} others alive of {len(others)} known.")
    ahead = _ahead(answer)
    if ahead:
        said = "; ".join(f"{name} by {seconds:.0f} s" for name, seconds in ahead.items())
        yield warning("skew", f"clocks ahead of this one: {said}.", "Synchronise the clocks, here or there.")


def _network(answer: dict[str, Any]) -> Iterator[Finding]:
    """Whether its network runs, and whether it has failed lately. An older node does not say."""
    network, now = answer.get("network"), datetime.fromisoformat(answer["as_of"])
    if not network or not network["failed_at"]:
        return
    if not network["running"]:
        said = f"it has none since {network['down_since']}: {network['problem']}"
        yield bad("network", said, "It tries again and again; if a port is taken, free it. Its log says more.")
    elif (now - datetime.fromisoformat(network["failed_at"])).total_seconds() < _LATELY_SECONDS:
        said = f"it failed at {network['failed_at']} and was built anew, {network['rebuilds']} times so far: "
        yield warning("network", said + network["problem"], "Look at its log; if it happens again, report it.")


def _own_clock(answer: dict[str, Any]) -> Iterator[Finding]:
    """What its NTP checks say of its clock. An older node does not say."""
    found = answer.get("clock")
    if not found:
        return
    ahead_ms, count = found["ahead_ms"], found["checks"]
    servers = f"the time of {count} NTP check{'s' if count != 1 else ''}"
    said = f"is {abs(ahead_ms):,.1f} ms {'ahead of' if ahead_ms > 0 else 'behind'} {servers}."
    if abs(ahead_ms) > CLOCK_SKEW_MS_MAX:
        yield warning("time", f"this node's clock {said}", "Run chronyd or systemd-timesyncd.")
    else:
        yield good("time", f"this node's clock {said}")


def _ahead(answer: dict[str, Any]) -> dict[str, float]:
    """The nodes that date their results in this node's future, and by how much, in seconds."""
    now, found = datetime.fromisoformat(answer["as_of"]), dict[str, float]()
    for check in answer["checks"]:
        for vantage in check["vantages"]:
            if vantage["at"] and vantage["node"] != answer["node"]:
                seconds = (datetime.fromisoformat(vantage["at"]) - now).total_seconds()
                if seconds > _SKEW_SECONDS:
                    found[vantage["node"]] = max(seconds, found.get(vantage["node"], 0))
    return found


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
