"""A check made anew from what the log tells of it: the same check, or none."""

from dataclasses import replace
from pathlib import Path

import pytest

from demesh.checks.check import TOLD_KEYS, Check
from demesh.config.adopt import check_of, rebuild
from demesh.config.check_tables import TABLES, WITHOUT_TARGET
from demesh.config.definition import is_secret_name
from demesh.errors import UsageError
from demesh.log.codec import decode, encode
from demesh.log.plan import PlanRow, read_row
from tests.config.files import check
from tests.log.builders import MESH, OTHER_MESH

_WHOLE = [
    'target = "https://example.org/health"',
    'target = "https://example.org/health?page=2"\nshow_query = true',
    'target = "https://example.org"\nmethod = "HEAD"\nip = "6"\nfollow_redirects = false\nhttp_version = "2"\n'
    'verify_tls = false\nexpect = { status = [200, 204], body = "Grüß.*Gott", cert_expires_in = "14d", response_time = "1s" }',
    'target = "https://example.org"\nexpect.json = { "$.db" = "up", "$.list" = [1, { a = true }], "$.n" = 1.5 }\n'
    'expect.header = { Server = "nginx" }',
    'target = "tcp://example.org:25"\nstarttls = "smtp"\nserver_name = "mx.example.org"\nexpect.answer = "250"',
    'target = "tls://example.org:443"\nalpn = ["h2", "http/1.1"]\nexpect.cert_expires_in = "30d"',
    'target = "dns://192.0.2.53/example.org"\nrecord = "MX"\ntransport = "tcp"\nrecursion = false\n'
    'expect = { rcode = "NOERROR", records = ["10 mx.example.org"] }',
    'target = "dns:///example.org"',
    'target = "ping://example.org"\npackets = 5\npayload_bytes = 64\nip = "4"',
    'target = "ntp://example.org:1123"\nexpect = { offset = "50ms", stratum = 2, response_time = "1s" }',
    'target = "mqtt://example.org"',
    'target = "mqtt+wss://example.org/x"\nversion = "5"\ntopic = "probes"\nverify_tls = false\nexpect.cert_expires_in = "9d"',
    'target = "https://example.org"\ninterval = "5m"\ntimeout = "2500ms"\nretry_interval = "7s"\nfail_after = 3\n'
    'recover_after = 4\nquorum = "all"\nseverity = "warning"\nnodes = ["tag:eu", "nas"]\nlabels = { team = "ops" }\nspread = 3',
    'target = "https://example.org"\nquorum = 2',
]


def _told(text: str, directory: Path) -> tuple[Check, PlanRow]:
    """A check, and what others read of it."""
    made = check(directory, text, T="sesame")
    value = decode(encode(made.row(MESH, True).value()))
    return made, read_row(value)


@pytest.mark.parametrize("text", _WHOLE)
def test_what_the_log_tells_makes_the_same_check(text: str, tmp_path: Path) -> None:
    made, row = _told(text, tmp_path)
    again = rebuild(row, MESH)
    assert replace(again.row(MESH, True), origin=b"") == row
    assert replace(again.probe, actual_key=made.probe.actual_key) == made.probe
    assert (again.nodes, again.spread, again.deadline_ms) == (made.nodes, made.spread, made.deadline_ms)


@pytest.mark.parametrize(
    "text",
    [
        'target = "https://me:sesame@example.org"',
        'target = "https://example.org"\nuser = "me"\npassword = "sesame"',
        'target = "https://example.org/?token=sesame"',
        'target = "https://example.org/${T}"',
        'target = "https://example.org"\nheaders = { Authorization = "Bearer sesame" }',
        'target = "https://example.org"\nheaders = { Accept = "text/html" }',
        'target = "https://example.org"\nmethod = "POST"\nbody = "sesame"',
        'target = "https://example.org"\nproxy = "http://sesame:sesame@proxy:3128"',
        'target = "https://example.org"\nexpect.body = "${T}"',
        'target = "https://example.org"\nca_file = "ca.pem"',
        'target = "tcp://example.org:1"\nsend = "sesame"\nexpect.answer = "ok"',
        'target = "mqtt://me:sesame@example.org"',
        'target = "mqtt://example.org"\nuser = "me"\npassword = "sesame"',
        'target = "mqtts://example.org"\nca_file = "ca.pem"',
        'type = "command"\ncommand = ["/bin/true", "sesame"]',
        'type = "python"\nentry = "a.b:c"\narguments = { key = "sesame" }',
    ],
)
def test_what_needs_more_than_may_be_told_is_not_made_and_no_secret_is_in_its_row(text: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    _, row = _told(text, tmp_path)
    assert "sesame" not in repr(row)
    assert not row.whole
    for claimed in (row, replace(row, whole=True)):  # whoever says that it is all there does not make it so
        if (claimed.whole and "me:sesame" in text) or "user =" in text:
            continue  # how a node authenticates is no part of the definition; only its author knows that it does
        with pytest.raises(UsageError) as refused:
            rebuild(claimed, MESH)
        assert not str(refused.value).endswith(".")


def _row(**changed: object) -> PlanRow:
    made = check_of({"name": "web", "target": "https://example.org/"})
    return replace(made.row(MESH, True), **changed)


@pytest.mark.parametrize(
    "row",
    [
        _row(definition=bytes(16)),
        _row(interval_ms=61_000),
        _row(fail_after=500),
        _row(timeout_ms=1),
        _row(quorum=60_000),
        _row(type="tcp"),
        _row(type="command", target="command:reboot"),
        _row(type="stun", target="stun://example.org"),
        _row(type="turn", target="turn://me:sesame@example.org"),
        _row(type="of a later version"),
        _row(target="file:///etc/passwd"),
        _row(target="https://"),
        _row(target="x" * 1_024),
        _row(target="https://shown.example.net/", keys=(("target", '"https://example.org/"'),)),
        _row(interval_ms=1_000, keys=(("interval", '"60s"'),)),
        _row(keys=(("body_file", '"/etc/passwd"'),)),
        _row(keys=(("proxy", '"http://proxy:1"'),)),
        _row(keys=(("headers", '{"A": "b"}'),)),
        _row(keys=(("method", "[" * 1_000),)),
        _row(keys=(("method", "GET"),)),
        _row(keys=(("verify_tls", "NaN"),)),
        _row(options=(("body", '"("'),)),
        _row(options=(("json", '{"$.a": NaN}'),)),
        _row(options=(("status", "{}"),)),
        _row(options=(("constructor", "1"),)),
        _row(nodes=("",)),
        _row(labels=(("not a label", "x"),)),
        _row(name="\x1b[2J"),
    ],
)
def test_a_row_that_does_not_make_the_check_it_claims_is_refused_in_a_clause(row: PlanRow) -> None:
    with pytest.raises(UsageError) as refused:
        rebuild(row, MESH)
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_row_of_another_mesh_is_refused() -> None:
    with pytest.raises(UsageError):
        rebuild(_row(), OTHER_MESH)
    assert rebuild(_row(), MESH).name == "web"


def test_a_row_of_an_earlier_version_says_too_little() -> None:
    with pytest.raises(UsageError, match="only its own node has"):
        rebuild(replace(_row(), spread=0, whole=False, keys=()), MESH)


@pytest.mark.parametrize(
    "key", ["body_file", "password_file", "ca_file", "headers", "command", "entry", "proxy", "user"]
)
def test_no_table_from_elsewhere_reaches_into_this_machine(key: str) -> None:
    with pytest.raises(UsageError):
        check_of({"name": "a", "target": "https://example.org", key: "x"})


def test_variables_are_not_filled_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_SECRET", "sesame")
    with pytest.raises(UsageError):
        check_of({"name": "a", "target": "https://example.org/${HOME_SECRET}"})


def test_the_keys_that_are_told_are_keys_of_checks_and_none_is_called_like_a_secret() -> None:
    known = {key for type_, table in TABLES.items() if type_ not in WITHOUT_TARGET for key in table.model_fields}
    assert known > TOLD_KEYS
    assert not any(map(is_secret_name, TOLD_KEYS))
