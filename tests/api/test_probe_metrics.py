"""blackbox_exporter's names for this node's results."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from demesh.api.exposition import Family, labels
from demesh.api.mesh_metrics import mesh_metrics
from demesh.api.probe_metrics import probe_metrics
from demesh.checks.check import Check
from demesh.checks.latest import LatestRuns
from demesh.checks.runner import Run
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.view.vote import fresh_ms
from tests.api.asking import check, run, whole
from tests.e2e.harness import Blackbox, WebServer
from tests.view.build import FAIL, PASS, deliver, new_view, row, three_vantages

_UP_MS = 5_000


def _samples(text: str) -> dict[tuple[str, str], tuple[float, Mapping[str, str]]]:
    """Value and labels by name and phase."""
    return {
        (sample.name, sample.labels.get("phase", "")): (sample.value, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _values(probed: Check, result: ProbeResult) -> dict[tuple[str, str], float]:
    text = probe_metrics([(probed, run(result, _UP_MS))], _UP_MS)
    return {key: value for key, (value, _) in _samples(text).items()}


def test_an_http_result_has_blackbox_exporters_names_and_values() -> None:
    values = _values(check(), whole())
    assert values == {
        ("probe_success", ""): 1,
        ("probe_duration_seconds", ""): 0.02438,
        ("probe_dns_lookup_time_seconds", ""): 0.000812,
        ("probe_ip_protocol", ""): 4,
        ("probe_ssl_earliest_cert_expiry", ""): 1_800_000_000,
        ("probe_http_status_code", ""): 200,
        ("probe_http_ssl", ""): 1,
        ("probe_http_duration_seconds", "resolve"): 0.000812,
        ("probe_http_duration_seconds", "connect"): 0.0031,
        ("probe_http_duration_seconds", "tls"): 0.012345,
        ("probe_http_duration_seconds", "processing"): 0.008,
        ("probe_http_duration_seconds", "transfer"): 0.000123,
        ("demesh_probe_age_seconds", ""): 0,
    }


def test_without_an_answer_there_is_no_success_status_or_duration() -> None:
    failed = ProbeResult(Outcome.FAIL, phases_us={"dns": 900}, address="2001:db8::1")
    values = _values(check(), failed)
    assert values["probe_success", ""] == values["probe_http_status_code", ""] == 0
    assert values["probe_http_duration_seconds", "resolve"] == 0.0009
    assert values["probe_http_duration_seconds", "transfer"] == 0
    assert values["probe_ip_protocol", ""] == 6
    assert ("probe_duration_seconds", "") not in values
    assert ("probe_ssl_earliest_cert_expiry", "") not in values


def test_a_mismatch_is_no_success_though_it_was_answered() -> None:
    values = _values(check(), whole(Outcome.MISMATCH, status=503))
    assert values["probe_success", ""] == 0
    assert values["probe_http_status_code", ""] == 503


def test_what_the_node_itself_could_not_do_does_not_blame_the_target() -> None:
    assert set(_values(check(), ProbeResult(Outcome.ERROR))) == {("demesh_probe_age_seconds", "")}


def test_a_ping_has_its_own_names() -> None:
    values = _values(
        check(target="ping://host", type_="ping"), ProbeResult(PASS, 1_500, phases_us={"dns": 500, "rtt": 900})
    )
    assert values["probe_icmp_duration_seconds", "resolve"] == 0.0005
    assert values["probe_icmp_duration_seconds", "rtt"] == 0.0009
    assert ("probe_http_status_code", "") not in values


def test_a_dns_query_has_its_own_names() -> None:
    asked = check(target="dns://192.0.2.1/example.org", type_="dns")
    values = _values(asked, ProbeResult(PASS, 1_500, phases_us={"answer": 1_500}))
    phases = [values["probe_dns_duration_seconds", phase] for phase in ("resolve", "connect", "request")]
    assert phases == [0, 0, 0.0015]


def test_phases_of_any_other_type_are_told_by_name() -> None:
    values = _values(
        check(target="mqtt://host", type_="mqtt"),
        ProbeResult(PASS, 9_000, phases_us={"connect": 1_000, "publish": 2_000}),
    )
    assert values["demesh_probe_phase_seconds", "publish"] == 0.002
    assert values["probe_success", ""] == 1


def test_the_target_is_an_instance_without_its_secrets() -> None:
    secret = check(target="https://me:sesame@web.example.net:8443/health?token=sesame")
    text = probe_metrics([(secret, run(whole(), _UP_MS))], _UP_MS)
    assert "sesame" not in text
    shown = {"instance": "https://web.example.net:8443/health", "target": "https://web.example.net:8443/health"}
    assert _samples(text)["probe_success", ""][1] == {"check": "web", "type": "http", **shown}


def test_an_old_result_says_nothing_of_now() -> None:
    old = [(check(), run(whole(), _UP_MS))]
    last = _UP_MS + fresh_ms(check().interval_ms)
    assert "probe_success" in probe_metrics(old, last)
    assert probe_metrics(old, last + 1) == ""


def test_the_newest_run_counts_until_the_check_is_changed() -> None:
    latest = LatestRuns()
    assert latest.of(check()) is None
    for status in (200, 503):
        latest.note(check(), run(whole(status=status)))
    newest = latest.of(check())
    assert newest is not None
    assert newest.result.status == 503
    assert latest.of(check(target="https://elsewhere.example.net/")) is None


def test_any_text_survives_as_a_label() -> None:
    family = Family("x", "Anything.")
    odd = 'back\\slash "quoted"\nnext line é'
    family.add(labels([("name", odd)]), 1)
    (read,) = text_string_to_metric_families(family.text())
    assert read.samples[0].labels == {"name": odd}
    assert Family("y", "Nothing.").text() == ""


def test_the_mesh_is_told_by_verdict_vote_and_presence() -> None:
    view = new_view()
    for member, outcome in zip(three_vantages(view, row("web", fail_after=1)), (PASS, FAIL, FAIL), strict=True):
        deliver(view, member, member.outcomes(1_000, outcome), 1_000)
    presences = [view.presence(member, 2_000) for member in view.members()]
    text = mesh_metrics("0a1b2c3d", view.checks(2_000), presences, [], 17, 4_096)
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["demesh_check_verdict", "critical", "down", "http", "web"] == 1
    assert found["demesh_check_votes", "critical", "fail", "http", "web"] == 2
    assert found["demesh_check_votes", "critical", "http", "pass", "web"] == 1
    assert found["demesh_members", "alive"] == 3
    assert found["demesh_members", "silent"] == 0
    assert found["demesh_store_bytes",] == 4_096
    assert found["demesh_history_behind_entries",] == 17


def test_a_thousand_checks_are_written_in_little_time() -> None:
    """A bound against accidents; 10 to 15 ms on two shared cores, and not on the event loop."""
    many: list[tuple[Check, Run]] = [
        (Check(f"check {i}", ProbeSpec("http", f"https://host{i}.example.org/health", 10_000)), run(whole(), _UP_MS))
        for i in range(1_000)
    ]
    took: list[float] = []
    text = ""
    for _ in range(5):
        started = time.process_time()
        text = probe_metrics(many, _UP_MS)
        took.append(time.process_time() - started)
    assert text.count("probe_success{") == 1_000
    assert min(took) < 0.06, took


@pytest.mark.e2e
def test_a_real_blackbox_exporter_has_the_same_names_labels_and_kinds(tmp_path: Path) -> None:
    """What is told of a plain HTTP target here exists there, with the same type; only what is named below is ours."""
    with WebServer() as web, Blackbox(tmp_path).running() as blackbox:
        theirs = _described(blackbox.probe(web.url))
    plain = whole(certificate_expires_s=None)
    ours = _described(probe_metrics([(check(), run(plain, _UP_MS))], _UP_MS))
    assert {name: kind for name, kind in ours.items() if name not in theirs} == {"demesh_probe_age_seconds": "gauge"}
    assert {name: theirs[name] for name in ours if name in theirs} == {
        name: kind for name, kind in ours.items() if name in theirs
    }


def _described(text: str) -> dict[Any, str]:
    """The type of each metric, and of each of its phases."""
    return {
        key: family.type
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for key in (family.name, (family.name, sample.labels.get("phase")))
        if key != (family.name, None)
    }
