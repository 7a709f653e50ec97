"""A good configuration says exactly this, and nothing else."""

from pathlib import Path

import pytest

from demesh import limits
from demesh.address import PeerAddress
from demesh.checks.check import Check
from demesh.config.command_line import CommandLine
from demesh.config.load import Settings, default_name, read_settings
from demesh.config.source import ConfigSource
from demesh.errors import UsageError
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.pattern import Pattern
from demesh.probes.base import Expect, HttpOptions, ProbeSpec

_FULL = """\
[node]
name = "nas"
tags = ["eu", "home"]
flush_interval = "5s"

[mesh]
peers = ["vps.example.net:8471", "dns:tasks.demesh:8471", "/ip4/192.0.2.7/tcp/8471"]
listen = "[::]:8471"
advertise = ["nas.example.net:8471"]
swarm_key_file = "secrets/swarm.key"

[alerts]
alertmanager = "http://127.0.0.1:9093/"
labels = { env = "home", a = "first" }

[api]
listen = "[::1]:8480"

[defaults]
interval = "2m"
quorum = "all"

[[check]]
name = "blog"
target = "https://me:sesame@blog.example.net/?token=sesame"
interval = "30s"
timeout = "1.5s"
retry_interval = "5s"
fail_after = 3
recover_after = 1
severity = "warning"
nodes = ["tag:eu", "vps"]
verify_tls = false
ca_file = "ca.pem"
labels = { team = "ops" }
expect = { status = [200, 204], body = "Welcome|Hallo", response_time = "800ms", cert_expires_in = "14d" }

[[check]]
name = "api"
target = "http://api.example.net/"
expect.status = 201
"""


def _settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "demesh.toml"
    path.write_text(text)
    return read_settings(path)


def _of_targets(tmp_path: Path, *targets: str, text: str = "") -> tuple[Check, ...]:
    """The checks of a configuration and of targets on the command line."""
    path = tmp_path / "demesh.toml"
    path.write_text(text)
    return ConfigSource(path, CommandLine(targets=targets)).load().checks


def test_every_setting_reaches_the_node(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    blog = Check(
        name="blog",
        probe=ProbeSpec(
            type="http",
            target="https://me:sesame@blog.example.net/?token=sesame",
            timeout_ms=1_500,
            expect=Expect(
                status=frozenset({200, 204}),
                body=Pattern.compile("Welcome|Hallo"),
                response_time_ms=800,
                cert_expires_in_ms=14 * 86_400_000,
            ),
            verify_tls=False,
            ca_file=str(tmp_path / "ca.pem"),
            options=HttpOptions(),
        ),
        interval_ms=30_000,
        retry_interval_ms=5_000,
        fail_after=3,
        recover_after=1,
        quorum=QUORUM_ALL,
        severity="warning",
        nodes=("tag:eu", "vps"),
        labels=(("team", "ops"),),
        expectations=(
            ("body", '"Welcome|Hallo"'),
            ("cert_expires_in", "1209600000"),
            ("response_time", "800"),
            ("status", "[200,204]"),
        ),
        definition=(("ca_file", '"ca.pem"'), ("verify_tls", "false")),
    )
    api = Check(
        name="api",
        probe=ProbeSpec(
            "http", "http://api.example.net/", 10_000, Expect(status=frozenset({201})), options=HttpOptions()
        ),
        interval_ms=120_000,
        quorum=QUORUM_ALL,
        expectations=(("status", "[201]"),),
    )
    assert _settings(tmp_path, _FULL) == Settings(
        name="nas",
        tags=("eu", "home"),
        flush_interval_ms=5_000,
        peers=(
            PeerAddress("vps.example.net:8471", "vps.example.net", 8471),
            PeerAddress("dns:tasks.demesh:8471", "tasks.demesh", 8471, every=True),
            PeerAddress("/ip4/192.0.2.7/tcp/8471", "192.0.2.7", 8471),
        ),
        listen=(("::", 8471),),
        advertise=(("nas.example.net", 8471),),
        swarm_key_file=tmp_path / "secrets/swarm.key",
        api=("::1", 8480),
        alertmanagers=("http://127.0.0.1:9093",),
        alert_labels=(("a", "first"), ("env", "home")),
        checks=(blog, api),
    )


def test_an_empty_file_is_a_node_with_the_defaults(tmp_path: Path) -> None:
    assert _settings(tmp_path, "") == Settings(name=default_name(), flush_interval_ms=10_000, api=("127.0.0.1", 8470))


def test_a_check_without_more_has_the_documented_defaults(tmp_path: Path) -> None:
    (check,) = _settings(tmp_path, '[[check]]\nname = "a"\ntarget = "https://example.org"').checks
    assert check == Check(
        name="a",
        probe=ProbeSpec("http", "https://example.org", 10_000, options=HttpOptions()),
        interval_ms=60_000,
        retry_interval_ms=10_000,
        fail_after=2,
        recover_after=2,
        quorum=QUORUM_MAJORITY,
        severity="critical",
        nodes=("*",),
    )


@pytest.mark.parametrize(("text", "quorum"), [('"any"', 1), ('"majority"', 0), ('"all"', QUORUM_ALL), ("3", 3)])
def test_a_quorum_is_a_word_or_a_number(text: str, quorum: int, tmp_path: Path) -> None:
    (check,) = _settings(tmp_path, f'[[check]]\nname = "a"\ntarget = "https://example.org"\nquorum = {text}').checks
    assert check.quorum == quorum


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("https://example.org", "example.org"),
        ("https://example.org/", "example.org"),
        ("https://EXAMPLE.org:8443/a/b/", "example.org:8443/a/b"),
        ("https://me:sesame@example.org/a?token=sesame#b", "example.org/a"),
        ("https://example.org/~me/a%20b", "example.org/-me/a-20b"),
        ("http://[::1]:8080/", "0::1:8080"),
        ("http://[2001:db8::7]/x", "2001:db8::7/x"),
        (f"https://example.org/{'x' * 100}", f"example.org/{'x' * 52}"),
        ("https://-x.example.org/", "x.example.org"),
        ("tcp://db.example.org:5432", "db.example.org:5432"),
        ("dns:///example.org", "example.org"),
        ("dns://192.0.2.53/example.org", "192.0.2.53/example.org"),
        ("dns:///.", "dns"),
    ],
)
def test_a_target_on_the_command_line_makes_a_check_of_a_sensible_name(target: str, name: str, tmp_path: Path) -> None:
    (check,) = _of_targets(tmp_path, target)
    assert (check.name, check.probe.target) == (name, target)


def test_a_target_takes_the_defaults_of_the_file(tmp_path: Path) -> None:
    (check,) = _of_targets(tmp_path, "https://example.org", text='[defaults]\ninterval = "5s"\nnodes = ["nas"]')
    assert (check.interval_ms, check.nodes) == (5_000, ("nas",))


def test_a_target_whose_name_is_taken_is_named_with_its_scheme(tmp_path: Path) -> None:
    text = '[[check]]\nname = "example.org"\ntarget = "https://example.org/other"'
    (_, check) = _of_targets(tmp_path, "https://example.org", text=text)
    assert check.name == "https://example.org"
    with pytest.raises(UsageError, match=r"Two checks would be named 'https://example\.org'"):
        _of_targets(tmp_path, "https://example.org", "https://example.org/", text=text)


@pytest.mark.parametrize(
    ("host", "name"),
    [("nas.example.net", "nas"), ("nas", "nas"), ("my nas!", "my-nas-"), ("", "node"), ("x" * 80, "x" * 64)],
)
def test_the_default_name_is_the_short_host_name(host: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_name() == name
    assert len(name) <= limits.NAME_CHARS_MAX


def test_file_names_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    text = '[mesh]\nswarm_key_file = "k"\n[[check]]\nname = "a"\ntarget = "https://example.org"\nca_file = "ca.pem"\n'
    settings = _settings(tmp_path, text)
    assert settings.swarm_key_file == tmp_path / "k"
    assert settings.checks[0].probe.ca_file == str(tmp_path / "ca.pem")
