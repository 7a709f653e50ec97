"""What `demesh check test` does: one probe, once, explained; needs no node and, for a URL, no configuration."""

import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import trio

from demesh.cli.terminal import printable
from demesh.clock import SystemClock
from demesh.config.duration import parse_duration
from demesh.curl import CurlEngine
from demesh.errors import UsageError
from demesh.home import find_home
from demesh.limits import TIMEOUT_MS_MAX, TIMEOUT_MS_MIN
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import TYPE_OF_SCHEME, Expect, HttpOptions, ProbeSpec
from demesh.probes.explain import judged, meaning
from demesh.probes.once import run_once
from demesh.probes.public import admits_listed
from demesh.probes.registry import TYPES, Probes, Tools
from demesh.probes.resolving import Resolver
from demesh.target import check_target, public_target, target_problem

if TYPE_CHECKING:
    from demesh.checks.check import Check

_PROGRESS_SECONDS = 2
_DAY_MS = 86_400_000
_PHASES = {"dns": "name lookup", "connect": "connect", "tls": "TLS", "first_byte": "first byte"}
_HTTP_ONLY = ("method", "header", "body", "expect_status", "expect_body")


def try_once(
    what: str, where: tuple[str | None, str | None], given: dict[str, Any], *, show_actual: bool, as_json: bool
) -> int:
    """Try a URL, or the check of a name in the configuration (`where`: its file, the data directory); returns the exit code.

    `given` are the options of `demesh.cli.check_test` that say how. Raises UsageError.
    """
    if "://" in what:
        spec, target, listed = _spec_of_url(what, given), public_target(what), False
    else:
        check = _check_of_name(what, *where, given)
        spec, target, listed = check.probe, check.public_target, check.listed
    if show_actual:
        spec = replace(spec, show_actual=True)
    result = None
    try:
        result = trio.run(partial(_probe, spec, listed=listed))
    except* KeyboardInterrupt:
        pass
    if result is None:
        raise click.Abort
    told = _told(what, target, spec, result, SystemClock().wall_ms())
    click.echo(json.dumps(told, indent=2) if as_json else _text(printable(told)))
    return 0 if result.outcome == Outcome.PASS else 1


def _spec_of_url(target: str, given: dict[str, Any]) -> ProbeSpec:
    """Raises UsageError."""
    # A dns:// target without a server asks this machine's resolver.
    check_target(target, tuple(TYPE_OF_SCHEME), host_needed=not target.startswith("dns:"))
    type_ = TYPE_OF_SCHEME[urlsplit(target).scheme]
    if said := target_problem(type_, target):
        raise UsageError(f"The target is refused: {said}")
    for name in _HTTP_ONLY:
        if given[name] and type_ != "http":
            raise UsageError(f"--{name.replace('_', '-')} is for http:// and https:// only.")
    if given["ipv4"] and given["ipv6"]:
        raise UsageError("-4 and -6 leave nothing to try; give one of them.")
    expect = Expect(
        status=_statuses(given["expect_status"]),
        body=_pattern(given["expect_body"]) if given["expect_body"] is not None else None,
    )
    http = HttpOptions(
        method=given["method"] or ("GET" if given["body"] is None else "POST"),
        headers=tuple(map(_header, given["header"])),
        body=given["body"].encode() if given["body"] is not None else None,
    )
    return ProbeSpec(
        type=type_,
        target=target,
        timeout_ms=_timeout_ms(given["timeout"] or "10s"),
        expect=expect,
        verify_tls=not given["insecure"],
        ca_file=given["ca_file"],
        ip_version=4 if given["ipv4"] else 6 if given["ipv6"] else 0,
        options=http if type_ == "http" else None,
    )


def _check_of_name(name: str, config: str | None, data_dir: str | None, given: dict[str, Any]) -> "Check":
    """Raises UsageError."""
    for option, value in given.items():
        if value:
            shown = {"ipv4": "-4", "ipv6": "-6"}.get(option, f"--{option.replace('_', '-')}")
            raise UsageError(f"{shown} goes with a URL; the check {name!r} is tried as the configuration has it.")
    from demesh.config.load import read_settings  # pydantic is slow to load, and a URL needs none of it

    path = Path(config) if config else find_home(data_dir).config
    if not path.exists():
        raise UsageError(
            f"There is no {path} to look for the check {name!r} in; name a file with --config, or give a URL."
        )
    checks = {check.name: check for check in read_settings(path).checks}
    if name not in checks:
        known = f"it has {', '.join(sorted(checks))}" if checks else "it has none"
        raise UsageError(f"{path} has no check named {name!r}; {known}.")
    return checks[name]


def _timeout_ms(text: str) -> int:
    try:
        ms = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}.") from None
    if not TIMEOUT_MS_MIN <= ms <= TIMEOUT_MS_MAX:
        raise UsageError(f"--timeout: must lie between {TIMEOUT_MS_MIN} ms and {TIMEOUT_MS_MAX // 1000} s.")
    return ms


def _statuses(texts: tuple[str, ...]) -> frozenset[int] | None:
    statuses: set[int] = set()
    for text in texts:
        first, _, last = text.partition("-")
        try:
            span = range(int(first), int(last or first) + 1)
        except ValueError:
            span = range(0)
        if not span or not 100 <= span[0] <= span[-1] <= 599:
            raise UsageError(f"--expect-status: {text!r} is no status; write 200, or 200-299.")
        statuses.update(span)
    return frozenset(statuses) or None


def _pattern(text: str) -> Pattern:
    try:
        return Pattern.compile(text)
    except UsageError as error:
        raise UsageError(f"--expect-body: {error}.") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError("--header: write it as 'NAME: VALUE'.")  # without repeating it: it may hold a secret
    return name.strip(), value.strip()


async def _probe(spec: ProbeSpec, *, listed: bool) -> ProbeResult:
    """One run, within its timeout; of a check that is `listed`, at public addresses only, as a node does it."""
    curl, clock = CurlEngine(), SystemClock()
    resolver = Resolver(admits=admits_listed, discreet=False) if listed else Resolver()
    probes = Probes(Tools(curl, clock.wall_ms, resolver))
    if spec.type not in TYPES:
        raise UsageError(f"There is no probe for checks of type {spec.type!r} in this version.")
    async with trio.open_nursery() as nursery:
        await nursery.start(curl.run)
        if sys.stderr.isatty():
            nursery.start_soon(_progress, spec.timeout_ms)
        result = await run_once(probes[spec.type], spec)
        nursery.cancel_scope.cancel()
    return result


async def _progress(timeout_ms: int) -> None:
    """A line on the terminal that counts while one waits, wiped when it is over."""
    waited_s = _PROGRESS_SECONDS
    await trio.sleep(_PROGRESS_SECONDS)
    try:
        while True:
            click.echo(f"\rno answer yet: {waited_s} s of {math.ceil(timeout_ms / 1000)} s", err=True, nl=False)
            await trio.sleep(1)
            waited_s += 1
    finally:
        click.echo("\r\033[K", err=True, nl=False)


def _told(what: str, target: str, spec: ProbeSpec, result: ProbeResult, wall_ms: int) -> dict[str, Any]:
    expires_s = result.certificate_expires_s
    return {
        "check": what if "://" not in what else None,
        "target": target,
        "type": spec.type,
        "outcome": result.outcome.name.lower(),
        "detail": result.detail,
        "meaning": meaning(result, spec.target),
        "latency_ms": _ms(result.latency_us),
        "phases_ms": {phase: _ms(us) for phase, us in result.phases_us.items()},
        "address": result.address,
        "status": result.status,
        "facts": dict(result.facts),
        "certificate_expires_at": None
        if expires_s is None
        else datetime.fromtimestamp(expires_s, UTC).isoformat().replace("+00:00", "Z"),
        "certificate_days_left": None if expires_s is None else (expires_s * 1000 - wall_ms) // _DAY_MS,
        "expectations": [
            {"key": each.key, "expected": each.stated, "held": each.held, "actual": each.said or None}
            for each in judged(spec, result)
        ],
    }


def _ms(us: int | None) -> float | None:
    return None if us is None else round(us / 1000, 1)


def _text(told: dict[str, Any]) -> str:
    passed = told["outcome"] == "pass"
    glyph = click.style("✔", "green") if passed else click.style("✘", "red", bold=True)
    because = f": {told['detail']}" if told["detail"] else ""
    lines = [f"{glyph} {told['target']}  {told['outcome']}{because}"]
    if told["meaning"]:
        lines.append(f"  {told['meaning']}")
    rows: list[tuple[str, str]] = [
        (_PHASES.get(phase, str(phase).replace("_", " ")), f"{ms:9.1f} ms") for phase, ms in told["phases_ms"].items()
    ]
    if told["latency_ms"] is not None:
        rows.append(("total", f"{told['latency_ms']:9.1f} ms"))
    facts = dict(told["facts"])
    version = facts.pop("http_version", "")
    rows += [("", "")] * bool(rows)
    learned: list[tuple[str, Any]] = [
        ("address", told["address"]),
        ("protocol", f"HTTP/{version}" if version else None),
        ("status", told["status"]),
        ("certificate", _certificate(told)),
        *((name.replace("_", " "), value) for name, value in facts.items()),
    ]
    rows += [(name, str(value)) for name, value in learned if value is not None]
    width = max((len(name) for name, _ in rows), default=0)
    lines += ["", *(f"  {name:{width}}   {value}".rstrip() for name, value in rows)]
    if told["expectations"]:
        lines.append("")
    for each in told["expectations"]:
        mark = {True: click.style("✔", "green"), False: click.style("✘", "red"), None: "·"}[each["held"]]
        lines.append(f"  {mark} {each['actual'] or each['expected']}")
    return "\n".join(lines).rstrip()


def _certificate(told: dict[str, Any]) -> str | None:
    if told["certificate_expires_at"] is None:
        return None
    date, days = told["certificate_expires_at"][:16].replace("T", " "), told["certificate_days_left"]
    return f"expires {date} UTC, in {days} days" if days >= 0 else f"expired {date} UTC, {-days} days ago"
