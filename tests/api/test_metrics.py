"""All of `/metrics`, as Prometheus reads it: with every type of check, and with names that need escaping."""

from collections import Counter

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from demesh.checks.check import Check
from demesh.outcome import Outcome, ProbeResult
from tests.api.asking import Node, ask, check, run, whole
from tests.e2e.harness import require

pytestmark = pytest.mark.trio
_OTHERS = {"tcp": "tcp://host:1", "tls": "tls://host:2", "dns": "dns://192.0.2.1/example.org", "ping": "ping://host"}
_ODD = 'back\\slash "quoted"\nnext line é'


async def _metrics(*checks: Check) -> str:
    node = Node(checks=checks)
    up_ms = node.clock.up_ms()
    for each in checks:
        failed = ProbeResult(Outcome.ERROR) if each.name == "error" else whole()
        node.latest.note(each, run(failed, up_ms))
    return (await ask("/metrics", node=node)).body.decode()


def _everything() -> list[Check]:
    return [
        *(check(f"check {number}", f"https://host{number}.example.net/a?b=c") for number in range(500)),
        *(check(type_, target, type_) for type_, target in _OTHERS.items()),
        check("error"),
        check(_ODD),
    ]


async def test_no_metric_and_no_series_is_told_twice() -> None:
    """Whether the client library tells it, or this program's own hand: nothing else sees both."""
    text = await _metrics(*_everything())
    for word in ("# HELP ", "# TYPE "):
        told = Counter(line.split()[2] for line in text.splitlines() if line.startswith(word))
        assert max(told.values()) == 1, told.most_common(3)
    families = Counter(family.name for family in text_string_to_metric_families(text))
    assert max(families.values()) == 1, families.most_common(3)
    series = Counter(line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#"))
    assert max(series.values()) == 1, series.most_common(3)
    assert len(series) > 500 * 10
    names = {line.partition("{")[0] for line in series}
    assert {"probe_icmp_duration_seconds", "probe_dns_duration_seconds", "demesh_probe_phase_seconds"} <= names


async def test_promtool_finds_nothing_to_blame() -> None:
    promtool, text = require("promtool"), await _metrics(*_everything())
    ran = await trio.run_process(
        [promtool, "check", "metrics"], stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


async def test_what_this_process_holds_for_its_peers_is_told() -> None:
    text = await _metrics()
    assert "\ndemesh_connections{} 3\n" in text
    assert "\ndemesh_inbound_slots{} 2\n" in text
    assert "\ndemesh_streams{} 7\n" in text
    (tasks,) = (line for line in text.splitlines() if line.startswith("demesh_tasks{} "))
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(trio.sleep_forever)
        more = await _metrics()
        nursery.cancel_scope.cancel()
    (then,) = (line for line in more.splitlines() if line.startswith("demesh_tasks{} "))
    assert 50 <= float(then.split()[1]) - float(tasks.split()[1]) < 55
