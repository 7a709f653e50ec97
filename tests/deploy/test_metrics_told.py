"""The table of metrics in the docs is all that a node tells, and nothing else."""

import re
from typing import Any

import pytest
from prometheus_client import metrics as library
from prometheus_client.parser import text_string_to_metric_families

from demesh import metrics
from demesh.view.own_clock import OwnClock
from tests.api.asking import Node, ask, check, run, whole
from tests.deploy.documents import rows

pytestmark = pytest.mark.trio
_OF_PROBES = {"instance", "check", "type", "target"}
_TYPES = {"tls": "tls://host:2", "dns": "dns://192.0.2.1/example.org", "ping": "ping://host", "http": "https://host/"}


async def _everything(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, set[str]]]:
    """Every metric of this program's own: its type and the labels of it."""
    node = Node(checks=[check(type_, target, type_) for type_, target in _TYPES.items()])
    monkeypatch.setattr(node.view, "own_clock", lambda: OwnClock(20.0, 1, 1))
    for each in node.checks:
        node.latest.note(each, run(whole(), node.clock.up_ms()))
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families((await ask("/metrics", node=node)).body.decode()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        found[f"{family.name}_total" if family.type == "counter" else family.name] = family.type, labels
    for each in vars(metrics).values():
        if isinstance(each, library.MetricWrapperBase):  # those that nothing was counted of have no sample
            known: Any = each
            name = f"{known._name}_total" if known._type == "counter" else known._name
            found[name] = known._type, set(known._labelnames)
    return {name: told for name, told in found.items() if name.startswith(("demesh_", "probe_"))}


async def test_the_docs_name_every_metric_with_its_type_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        name: (cells[0], set(re.findall(r"`(\w+)`", cells[1])))
        for name, cells in rows("docs/monitoring.md", "## Metrics").items()
    }
    for name, (_, labels) in told.items():
        if name.startswith(("probe_", "demesh_probe_")):
            labels |= _OF_PROBES
    assert told == await _everything(monkeypatch)
