"""An expectation that comes from the environment is told as it is written, by whatever tells of it."""

from pathlib import Path

import pytest

from demesh.api.probe_metrics import probe_metrics
from demesh.checks.check import Check
from demesh.checks.runner import Run
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import DnsOptions
from demesh.probes.command import CommandProbe
from demesh.probes.dns import DnsProbe, parse_target
from demesh.probes.dns_expect import broken_expectations
from demesh.probes.dns_message import Reply
from demesh.probes.explain import judged
from demesh.probes.resolving import Resolver
from demesh.probes.tcp import TcpProbe
from demesh.probes.tls import TlsContexts
from tests.config.files import check
from tests.probes.servers import http, probing, serving

pytestmark = pytest.mark.trio


def _told(found: Check, result: ProbeResult) -> str:
    """All that is told of a result that is not as expected."""
    assert result.outcome in (Outcome.MISMATCH, Outcome.ERROR), result
    said = f"{result!r} {judged(found.probe, result)!r}"
    assert "sesame" not in said
    return said


async def test_http_tells_body_header_and_json_as_written(tmp_path: Path) -> None:
    text = """
        target = "http://127.0.0.1:{port}/"
        [check.expect]
        body = "a ${{S}}"
        header = {{ X-A = "b ${{S}}", X-B = "plain" }}
        json = {{ "$.a" = "c ${{S}}", "$.b" = {{ in = ["d ${{S}}", 1] }}, "$.c" = 7 }}
    """
    async with (
        serving(lambda _: http(b'{"a": 1, "b": 2, "c": 3}', 200, "X-A: x", "X-B: x")) as server,
        probing() as probe,
    ):
        found = check(tmp_path, text.format(port=server.port), S="sesame")
        said = _told(found, await probe(found.probe))
    for phrase in (
        "body does not match /a ${S}/",
        "/b ${S}/",
        'is not "c ${S}"',
        '"d ${S}", 1]',
        "/plain/",
        "is not 7",
    ):
        assert phrase in said


async def test_tcp_tells_the_answer_as_written(tmp_path: Path) -> None:
    async with serving(lambda _: b"hello") as server:
        text = (
            f'target = "tcp://127.0.0.1:{server.port}"\nsend = "GET / HTTP/1.1\\r\\n\\r\\n"\nexpect.answer = "a ${{S}}"'
        )
        found = check(tmp_path, text, S="sesame")
        said = _told(found, await TcpProbe(lambda: 0, Resolver(), TlsContexts())(found.probe))
    assert "answer does not match /a ${S}/" in said


async def test_a_command_tells_the_output_as_written(tmp_path: Path) -> None:
    found = check(tmp_path, 'type = "command"\ncommand = ["echo", "hello"]\nexpect.output = "a ${S}"', S="sesame")
    assert "output (6 bytes) does not match /a ${S}/" in _told(found, await CommandProbe()(found.probe))


async def test_dns_tells_records_as_written(tmp_path: Path) -> None:
    text = 'target = "dns://127.0.0.1:9/example.org"\nexpect.records = ["192.0.2.1", "${S}"]'
    found = check(tmp_path, text, S="sesame")
    assert "'${S}' is not the data of a record" in _told(
        found, await DnsProbe(lambda: 0, Resolver(), TlsContexts())(found.probe)
    )

    (_, question), reply = parse_target(found.probe.target, DnsOptions(record="TXT")), Reply("NOERROR", False)
    broken = broken_expectations(found.probe.expect, question, reply)
    assert broken == {"records": "no TXT record 192.0.2.1, ${S}; got none"}


async def test_metrics_tell_the_target_as_written(tmp_path: Path) -> None:
    found = check(tmp_path, 'target = "http://example.org/${S}/a"', S="sesame")
    said = probe_metrics([(found, Run(0, 0, ProbeResult(Outcome.PASS), 0))], 0)
    assert 'instance="http://example.org/${S}/a"' in said
    assert "sesame" not in said
