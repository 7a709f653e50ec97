"""Every key of every type of check reaches its probe."""

from pathlib import Path

import pytest

from demesh.config.check_tables import SCHEMES, TABLES, WITHOUT_TARGET
from demesh.pattern import Pattern
from demesh.probes import registry
from demesh.probes.base import (
    TYPE_OF_SCHEME,
    CommandOptions,
    DnsOptions,
    Expect,
    HttpOptions,
    MqttOptions,
    PingOptions,
    ProbeSpec,
    PythonOptions,
    TcpOptions,
)
from tests.config.files import check

_DAY_MS = 86_400_000


def test_http(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("sesame\n")
    (tmp_path / "ca.pem").write_text("a certificate")
    text = """
        target = "https://example.org/a?b=c"
        method = "POST"
        headers = { Accept = "application/json", X-Api-Key = "key" }
        body = "ü"
        user = "me"
        password_file = "pw"
        follow_redirects = false
        http_version = "2"
        proxy = "http://127.0.0.1:3128"
        ip = "6"
        ca_file = "ca.pem"
        verify_tls = false
        show_actual = true
        show_query = true
        [check.expect]
        status = [301, 200, 200]
        body = "a.*b"
        json = { "$.db" = "ok", "$.list" = [1, 2.5, true] }
        header = { Server = "nginx" }
        response_time = "800ms"
        cert_expires_in = "21d"
    """
    found = check(tmp_path, text)
    assert found.probe == ProbeSpec(
        type="http",
        target="https://example.org/a?b=c",
        timeout_ms=10_000,
        expect=Expect(
            response_time_ms=800,
            cert_expires_in_ms=21 * _DAY_MS,
            status=frozenset({200, 301}),
            body=Pattern.compile("a.*b"),
            json=(("$.db", "ok"), ("$.list", [1, 2.5, True])),
            header=(("Server", Pattern.compile("nginx")),),
        ),
        verify_tls=False,
        ca_file=str(tmp_path / "ca.pem"),
        ip_version=6,
        options=HttpOptions(
            method="POST",
            headers=(("Accept", "application/json"), ("X-Api-Key", "key")),
            body="ü".encode(),
            user="me",
            password="sesame",
            follow_redirects=False,
            http_version="2",
            proxy="http://127.0.0.1:3128",
        ),
        show_actual=True,
    )
    assert found.public_target == "https://example.org/a?b=c"


def test_a_body_from_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff\n")
    found = check(tmp_path, 'target = "http://a"\nbody_file = "body"\npassword = "sesame"\nuser = "me"')
    assert found.probe.options == HttpOptions(body=b"\xff\n", user="me", password="sesame")


def test_tcp_and_tls(tmp_path: Path) -> None:
    tcp = check(tmp_path, 'target = "tcp://a:1"\nsend = "PING\\r\\n"\nip = "4"\nexpect.answer = "PONG"').probe
    assert (tcp.type, tcp.options, tcp.ip_version) == ("tcp", TcpOptions(send=b"PING\r\n"), 4)
    assert tcp.expect == Expect(answer=Pattern.compile("PONG"))
    keys = 'starttls = "smtp"\nserver_name = "mail.example.org"\nalpn = "h2"\nexpect.cert_expires_in = "9d"'
    for scheme in ("tcp", "tls"):
        found = check(tmp_path, f'target = "{scheme}://a:25"\n{keys}').probe
        assert found.type == scheme
        assert found.options == TcpOptions(starttls="smtp", server_name="mail.example.org", alpn=("h2",))
        assert found.expect == Expect(cert_expires_in_ms=9 * _DAY_MS)


def test_dns(tmp_path: Path) -> None:
    text = """
        target = "dns://192.0.2.53:5353/example.org"
        record = "mx"
        transport = "tls"
        recursion = false
        server_name = "dns.example.org"
        expect = { rcode = "nxdomain", records = ["10 mail.example.org.", "."] }
    """
    found = check(tmp_path, text).probe
    assert found.options == DnsOptions("MX", "tls", False, "dns.example.org")
    assert found.expect == Expect(rcode="NXDOMAIN", records=("10 mail.example.org", "."))
    assert check(tmp_path, 'target = "dns:///example.org"').probe.options == DnsOptions()


def test_ping(tmp_path: Path) -> None:
    found = check(tmp_path, 'target = "ping://192.0.2.1"\npackets = 3\npayload_bytes = 8').probe
    assert (found.type, found.options) == ("ping", PingOptions(3, 8))


def test_mqtt(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("sesame\n")
    text = 'target = "mqtts://a"\nversion = "5"\nuser = "me"\npassword_file = "pw"\ntopic = "b/c"\nexpect.cert_expires_in = "9d"'
    found = check(tmp_path, text).probe
    assert (found.type, found.options) == ("mqtt", MqttOptions("5", "me", "sesame", "b/c"))
    assert found.expect == Expect(cert_expires_in_ms=9 * _DAY_MS)
    for scheme in ("mqtt", "mqtt+ws", "mqtt+wss"):
        plain = check(tmp_path, f'target = "{scheme}://a"').probe
        assert (plain.type, plain.options) == ("mqtt", MqttOptions())


def test_ntp(tmp_path: Path) -> None:
    found = check(tmp_path, 'target = "ntp://a"\nexpect = { offset = "20ms", stratum = 2 }').probe
    assert (found.type, found.options, found.expect) == ("ntp", None, Expect(offset_ms=20, stratum=2))


def test_a_command_is_told_by_its_name_only(tmp_path: Path) -> None:
    text = """
        type = "command"
        command = ["/usr/lib/check_disk", "-w", "sesame"]
        output = "json"
        env = { B = "2", A = "1" }
        directory = "sub"
        expect.output = "OK"
    """
    found = check(tmp_path, text)
    assert found.probe == ProbeSpec(
        type="command",
        target="command:check_disk",
        timeout_ms=10_000,
        expect=Expect(output=Pattern.compile("OK")),
        options=CommandOptions(
            argv=("/usr/lib/check_disk", "-w", "sesame"),
            output="json",
            env=(("A", "1"), ("B", "2")),
            directory=str(tmp_path / "sub"),
        ),
    )
    assert "sesame" not in repr(found.row(bytes(16), True))


def test_a_plug_in(tmp_path: Path) -> None:
    found = check(tmp_path, 'type = "python"\nentry = "my.plug:probe"\narguments = { z = [1], a = { b = true } }')
    assert found.probe.target == "python:my.plug:probe"
    assert found.probe.options == PythonOptions("my.plug:probe", (("a", {"b": True}), ("z", [1])))


def test_a_paused_check_is_kept_and_runs_nowhere(tmp_path: Path) -> None:
    assert not check(tmp_path, 'target = "tcp://a:1"\nenabled = false').runs_on("nas", ())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_belongs_to_a_type_that_has_a_table(scheme: str) -> None:
    assert SCHEMES[scheme] in TABLES


def test_what_there_is_a_probe_for_can_be_configured() -> None:
    assert frozenset(registry.TYPES) == TABLES.keys()
    assert TABLES.keys() == {*TYPE_OF_SCHEME.values(), *WITHOUT_TARGET}
