"""Bad input gets a sentence: which file, which line, what is wrong, what is allowed; and no secret is repeated."""

from pathlib import Path

import pytest

from demesh import limits
from demesh.config.load import read_config
from demesh.errors import ConfigError
from tests.cli.harness import Ran, demesh


def _run(tmp_path: Path, config: str | bytes, *arguments: str) -> tuple[Path, Ran]:
    path = tmp_path / "demesh.toml"
    path.write_bytes(config.encode() if isinstance(config, str) else config)
    return path, demesh(tmp_path / "home", "node", "run", "--config", str(path), *arguments)


def _check(line: str) -> str:
    """A configuration of one check, with `line` as its fourth line."""
    return f'[[check]]\nname = "web"\ntarget = "https://example.org/"\n{line}\n'


_BAD_FILES = {
    "key misspelt": ('[node]\nnmae = "nas"', 2, "node.nmae: there is no such key; did you mean 'name'?"),
    "check key misspelt": (
        _check('intervall = "30s"'),
        4,
        "check[1].intervall: there is no such key; did you mean 'interval'?",
    ),
    "expectation misspelt": (_check('expect.boddy = "x"'), 4, "did you mean 'body'?"),
    "key like no other": (_check("zzz = 1"), 4, "check[1].zzz: there is no such key."),
    "table misspelt": ('\n[alert]\nalertmanager = "http://a"', 2, "did you mean 'alerts'?"),
    "target missing": ('\n[[check]]\nname = "web"', 2, "check[1].target: is missing."),
    "name missing": ('[[check]]\ntarget = "https://example.org"', 1, "check[1].name: is missing."),
    "interval a number": (_check("interval = 30"), 4, 'a duration is text with its unit, such as "30s"'),
    "interval without unit": (_check('interval = "30"'), 4, "'30' is not a duration; write a number and its unit"),
    "interval of another unit": (_check('interval = "2 weeks"'), 4, "is not a duration"),
    "interval too short": (_check('interval = "999ms"'), 4, "check[1].interval:"),
    "interval too long": (_check('interval = "8d"'), 4, "check[1].interval:"),
    "interval beyond all numbers": (_check(f'interval = "{"9" * 400}d"'), 4, "check[1].interval:"),
    "timeout too long": (_check('timeout = "6m"'), 4, "check[1].timeout:"),
    "default too short": ('[defaults]\n\ninterval = "10ms"', 3, "defaults.interval:"),
    "scheme unknown": ('[[check]]\nname = "a"\ntarget = "ftp://example.org/"', 3, "one of http://, https://"),
    "no scheme": ('[[check]]\nname = "a"\ntarget = "example.org"', 3, "one of http://, https://"),
    "no host": ('[[check]]\nname = "a"\ntarget = "https:///path"', 3, "names no host"),
    "port out of range": (
        '[[check]]\nname = "a"\ntarget = "https://example.org:99999/"',
        3,
        "not a URL that can be read",
    ),
    "white space in target": ('[[check]]\nname = "a"\ntarget = "https://example.org/a b"', 3, "white space"),
    "two checks of one name": (_check("") + _check(""), 6, "there is another check named 'web'"),
    "type against scheme": (_check('type = "tcp"'), 4, "a target of this scheme is of type 'http'"),
    "quorum a word": (_check('quorum = "most"'), 4, 'a quorum is "any", "majority", "all" or a number of nodes'),
    "quorum zero": (_check("quorum = 0"), 4, "a quorum is"),
    "quorum a truth": (_check("quorum = true"), 4, "a quorum is"),
    "fail_after zero": (_check("fail_after = 0"), 4, "check[1].fail_after:"),
    "fail_after a text": (_check('fail_after = "2"'), 4, "check[1].fail_after:"),
    "status impossible": (_check("expect.status = [200, 99]"), 4, "check[1].expect.status"),
    "status a text": (_check('expect.status = "200"'), 4, "check[1].expect.status"),
    "pattern broken": (_check('expect.body = "("'), 4, "not a regular expression"),
    "pattern too greedy": (_check('expect.body = "a{99999999999}"'), 4, "not a regular expression"),
    "in a table of the second check": (_check("") + _check('[check.expect]\nbody = "("'), 9, "check[2].expect.body"),
    "no nodes": (_check("nodes = []"), 4, "check[1].nodes:"),
    "severity empty": (_check('severity = ""'), 4, "check[1].severity:"),
    "truth a text": (_check('verify_tls = "yes"'), 4, "check[1].verify_tls:"),
    "name empty": ('[node]\nname = ""', 2, "node.name: a name has 1 to 64"),
    "name too long": (f'[node]\nname = "{"n" * 65}"', 2, "node.name: a name has 1 to 64"),
    "name with a line break": ('[node]\nname = "a\\nb"', 2, "node.name: a name has 1 to 64"),
    "too many tags": (f"[node]\ntags = {[f't{n}' for n in range(limits.TAGS_MAX + 1)]}", 2, "node.tags:"),
    "flush too often": ('[node]\nflush_interval = "100ms"', 2, "node.flush_interval:"),
    "peer without port": ('[mesh]\npeers = ["vps.example.net"]', 2, "write host:port"),
    "peer over UDP": ('[mesh]\npeers = ["/ip4/192.0.2.7/udp/8471"]', 2, "is not a multiaddr that demesh dials"),
    "peer id broken": ('[mesh]\npeers = ["/ip4/192.0.2.7/tcp/8471/p2p/QmX"]', 2, "is not the peer id"),
    "IPv6 without brackets": ('[mesh]\nlisten = "::1:8471"', 2, "with IPv6 in brackets"),
    "port beyond range": ('[mesh]\nadvertise = ["vps.example.net:65536"]', 2, "write host:port"),
    "API without port": ('[api]\nlisten = "localhost"', 2, "api.listen:"),
    "Alertmanager without scheme": ('[alerts]\nalertmanager = "alerts:9093"', 2, "http://127.0.0.1:9093"),
    "Alertmanager no URL": ('[alerts]\nalertmanager = "http://[::1"', 2, "http://127.0.0.1:9093"),
    "label name broken": ('[alerts]\nlabels = { "bad-name" = "x" }', 2, "alerts.labels.bad-name:"),
    "label a number": ("[alerts.labels]\nteam = 7", 2, "alerts.labels.team:"),
}


@pytest.mark.parametrize(("config", "line", "sentence"), _BAD_FILES.values(), ids=_BAD_FILES)
def test_a_bad_setting_is_refused_with_file_line_and_reason(
    config: str, line: int, sentence: str, tmp_path: Path
) -> None:
    path, ran = _run(tmp_path, config)
    assert ran.code == 2
    assert ran.err.startswith(f"{path}:{line}: "), ran.err
    assert sentence in ran.err
    assert ran.err.count("\n") == 1, "one problem, one line"
    assert ran.out == ""
    assert not (tmp_path / "home").exists(), "a refused configuration leaves nothing behind"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ('[node]\nname = "nas\n', ":2: not TOML"),
        ("[node]\nname = nas\n", ":2: not TOML"),
        ("[node]\n[node]\n", ":2: not TOML"),
        ('name = "a"\nname = "b"\n', ":2: not TOML"),
        (b'[node]\nname = "\xff"', ": not UTF-8"),
        (b"#" * (limits.CONFIG_BYTES_MAX + 1), f": larger than {limits.CONFIG_BYTES_MAX} bytes"),
    ],
    ids=["text without end", "value without quotes", "table twice", "key twice", "not UTF-8", "too large"],
)
def test_what_is_not_toml_is_refused_with_the_place(config: str | bytes, sentence: str, tmp_path: Path) -> None:
    path, ran = _run(tmp_path, config)
    assert ran.code == 2
    assert ran.err.startswith(f"{path}:")
    assert sentence in ran.err


@pytest.mark.parametrize(("name", "reason"), [("absent.toml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "node", "run", "--config", str(tmp_path / name))
    assert ran.code == 2
    assert str(tmp_path / name) in ran.err
    assert reason in ran.err


def test_all_problems_are_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    config = (
        '[node]\nnmae = "x"\n\n' + _check('interval = "fast"') + _check("quorum = 0") + "[defaults]\nfail_after = 0\n"
    )
    path, ran = _run(tmp_path, config)
    lines = [int(line.removeprefix(f"{path}:").partition(":")[0]) for line in ran.err.splitlines()]
    assert lines == [2, 7, 11, 13]


_SECRET_TARGETS = [
    "ftp://me:sesame@example.org/",
    "ftp://example.org/?token=sesame",
    "https://me:sesame@/path?token=sesame",
    "https://me:sesame@example.org:99999/?token=sesame",
    "https://me:sesame@[::1/?token=sesame",
    "https://me:sesame@example.org/a b?token=sesame",
    "https://example.org/\\u0007?token=sesame#sesame",
    "//me:sesame@example.org/",
    "me:sesame@example.org",
    "http:me:sesame@example.org",
    "https://me:sesame/open@example.org/",
    "https://me:sesame@ex\\u2100mple.org/",
]


@pytest.mark.parametrize("target", _SECRET_TARGETS)
def test_no_refusal_of_a_target_repeats_its_secrets(target: str, tmp_path: Path) -> None:
    _, from_file = _run(tmp_path, f'[[check]]\nname = "a"\ntarget = "{target}"')
    from_line = demesh(tmp_path / "home", "node", "run", target.encode().decode("unicode_escape"))
    for ran in (from_file, from_line):
        assert ran.code == 2
        assert "target" in ran.err
        assert "sesame" not in ran.err + ran.out


@pytest.mark.parametrize("wrong", ['interval = "soon"', "zzz = 1", 'expect.body = "("', 'type = "tcp"'])
def test_another_problem_of_a_check_repeats_no_secret_of_its_target(wrong: str, tmp_path: Path) -> None:
    _, ran = _run(tmp_path, f'[[check]]\nname = "a"\ntarget = "https://me:sesame@example.org/?token=sesame"\n{wrong}')
    assert ran.code == 2
    assert "sesame" not in ran.err


def test_the_error_for_programs_holds_each_problem(tmp_path: Path) -> None:
    path = tmp_path / "demesh.toml"
    path.write_text("[node]\na = 1\nb = 2\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert len(caught.value.problems) == 2


_BAD_OPTIONS = {
    "target without scheme": (["example.org"], "one of http://, https://"),
    "target of an unknown scheme": (["gopher://example.org"], "one of http://, https://"),
    "target twice": (["https://example.org/", "https://example.org"], "Two checks would be named 'example.org'"),
    "listen without port": (["--listen", "localhost"], "'localhost' is not an address"),
    "listen on a name for a port": (["--listen", "localhost:http"], "is not an address"),
    "advertise an IPv6 without brackets": (["--advertise", "2001:db8::1:8471"], "with IPv6 in brackets"),
    "API nowhere": (["--api", "nowhere"], "'nowhere' is not an address"),
    "API for everybody": (["--api", "0.0.0.0:0"], "it could be reached from elsewhere"),
    "API on a public name": (["--api", "example.org:8470"], "it could be reached from elsewhere"),
    "API on an address for all of IPv6": (["--api", "[::]:8470"], "it could be reached from elsewhere"),
    "peer without port": (["--peer", "vps.example.net"], "is not an address"),
    "peer id broken": (["--peer", "/dns4/a.example/tcp/1/p2p/abc"], "is not the peer id"),
    "name with a slash first": (["--name", "/nas"], "--name: a name has 1 to 64"),
    "swarm key file absent": (["--swarm-key-file", "/nonexistent/swarm.key"], "Cannot read the swarm key"),
    "Alertmanager no URL": (["--alertmanager", "http://[::1"], "--alertmanager: not the URL"),
    "Alertmanager without scheme": (["--alertmanager", "alerts:9093"], "--alertmanager: not the URL"),
    "option unknown": (["--lisen", "127.0.0.1:1"], "--listen"),
}


@pytest.mark.parametrize(("arguments", "sentence"), _BAD_OPTIONS.values(), ids=_BAD_OPTIONS)
def test_a_bad_option_is_refused_with_a_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "node", "run", *arguments)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.out == ""
