"""This node's newest results under the names of blackbox_exporter, so that its dashboards and alerting rules go on working.

Labels: `instance` and `target` (the target as it may be shown), `check`, `type`. With `honor_labels: true` in the scrape
configuration, `instance` is what it is with blackbox_exporter.

As there: a phase of an HTTP request that was not reached is 0, and so is the status when there was no answer. Unlike
there: a run that this node itself could not do (outcome `error`) has no `probe_success`, for it says nothing of the
target; and what was not measured, such as the duration of a run without an answer, is left out.
https://github.com/prometheus/blackbox_exporter (names as of 0.23)
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from demesh import limits
from demesh.api.exposition import Family, labels
from demesh.checks.check import Check
from demesh.checks.runner import Run
from demesh.outcome import Outcome, ProbeResult
from demesh.view.vote import fresh_ms

_HTTP_PHASES = {
    "resolve": "dns",
    "connect": "connect",
    "tls": "tls",
    "processing": "first_byte",
    "transfer": "transfer",
}
"""blackbox_exporter's name and ours, here and below."""
_DNS_PHASES = {"resolve": "dns", "connect": "connect", "request": "answer"}


class _Families:
    def __init__(self) -> None:
        self.success = Family("probe_success", "Whether the newest run of the check passed.")
        self.duration = Family("probe_duration_seconds", "How long the newest run took, if the target answered.")
        self.lookup = Family("probe_dns_lookup_time_seconds", "How long looking up the target's name took.")
        self.protocol = Family("probe_ip_protocol", "4 or 6: the version of IP that was spoken.")
        self.expiry = Family("probe_ssl_earliest_cert_expiry", "Unix time at which the first certificate expires.")
        self.status = Family("probe_http_status_code", "The HTTP status, 0 without an answer.")
        self.http_phase = Family("probe_http_duration_seconds", "How long each phase of the HTTP request took.")
        self.ssl = Family("probe_http_ssl", "Whether the request went over TLS.")
        self.icmp_phase = Family("probe_icmp_duration_seconds", "How long each phase of the ping took.")
        self.dns_phase = Family("probe_dns_duration_seconds", "How long each phase of the DNS request took.")
        self.phase = Family("demesh_probe_phase_seconds", "How long each phase of the newest run took, any type.")
        self.age = Family("demesh_probe_age_seconds", "How long ago the newest run ended.")

    def text(self) -> str:
        return "".join(family.text() for family in vars(self).values())


def probe_metrics(runs: Iterable[tuple[Check, Run]], up_ms: int) -> str:
    """The text for the newest run of each check; one too old to vote is left out. `up_ms` is now."""
    families = _Families()
    for check, run in runs:
        if up_ms - run.up_ms > fresh_ms(check.interval_ms):
            continue
        common = _labels(check.name, check.probe.type, check.public_target)
        families.age.add(common, (up_ms - run.up_ms) / 1_000)
        if run.result.outcome != Outcome.ERROR:
            _add(families, common, check.probe.type, run.result)
    return families.text()


def _add(families: _Families, common: str, type_: str, result: ProbeResult) -> None:
    families.success.add(common, int(result.outcome == Outcome.PASS))
    if result.latency_us is not None:
        families.duration.add(common, result.latency_us / 1_000_000)
    if (lookup_us := result.phases_us.get("dns")) is not None:
        families.lookup.add(common, lookup_us / 1_000_000)
    if result.address is not None:
        families.protocol.add(common, 6 if ":" in result.address else 4)
    if result.certificate_expires_s is not None:
        families.expiry.add(common, result.certificate_expires_s)
    if type_ == "http":
        families.status.add(common, result.status or 0)
        families.ssl.add(common, int("tls" in result.phases_us))
        for theirs, ours in _HTTP_PHASES.items():
            families.http_phase.add(f'{common},phase="{theirs}"', result.phases_us.get(ours, 0) / 1_000_000)
        return
    if type_ == "ping":
        _add_ping(families.icmp_phase, common, result)
    elif type_ == "dns":
        for theirs, ours in _DNS_PHASES.items():
            families.dns_phase.add(f'{common},phase="{theirs}"', result.phases_us.get(ours, 0) / 1_000_000)
    for phase, took_us in result.phases_us.items():
        families.phase.add(f"{common},{labels([('phase', phase)])}", took_us / 1_000_000)


def _add_ping(family: Family, common: str, result: ProbeResult) -> None:
    phases: Mapping[str, int] = result.phases_us
    resolve_us = phases.get("dns", 0)
    family.add(f'{common},phase="resolve"', resolve_us / 1_000_000)
    if result.latency_us is not None:
        family.add(f'{common},phase="rtt"', phases.get("rtt", result.latency_us) / 1_000_000)


@lru_cache(limits.CHECKS_MAX)
def _labels(name: str, type_: str, target: str) -> str:
    return labels((("instance", target), ("check", name), ("type", type_), ("target", target)))
