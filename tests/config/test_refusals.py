"""Bad input gets a sentence: which file, which line, what is wrong, what is allowed; and no secret is repeated.

Every case goes through the real command.
"""

from pathlib import Path

import pytest

from demesh import limits
from demesh.config.load import read_settings
from demesh.errors import ConfigError
from tests.cli.harness import Ran, demesh


def _run(tmp_path: Path, config: str | bytes, *arguments: str) -> tuple[Path, Ran]:
    path = tmp_path / "demesh.toml"
    path.write_bytes(config.encode() if isinstance(config, str) else config)
    return path, demesh(tmp_path / "home", "node", "run", "--config", str(path), *arguments)


def _check(line: str, name: str = "web", target: str = "https://example.org/") -> str:
    """A configuration of one check, with `line` as its fourth line."""
    return f'[[check]]\nname = "{name}"\ntarget = "{target}"\n{line}\n'


def _command(line: str) -> str:
    """A configuration of a check without a target, with `line` as its fourth line."""
    return f'[[check]]\nname = "disk"\ntype = "command"\n{line}\n'


_ID = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust"


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
    "requests allowed to all": (
        "[mesh]\nallow_requests = true",
        2,
        'mesh.allow_requests: input should be "public", "any" or false',
    ),
    "requests allowed to none": ('[mesh]\nallow_requests = "none"', 2, 'should be "public", "any" or false'),
    "quorum a word": (_check('quorum = "most"'), 4, 'a quorum is "any", "majority", "all" or a number of nodes'),
    "quorum zero": (_check("quorum = 0"), 4, "a quorum is"),
    "quorum a truth": (_check("quorum = true"), 4, "a quorum is"),
    "fail_after zero": (_check("fail_after = 0"), 4, "check[1].fail_after:"),
    "fail_after a text": (_check('fail_after = "2"'), 4, "check[1].fail_after:"),
    "status impossible": (_check("expect.status = [200, 99]"), 4, "check[1].expect.status"),
    "status a text": (_check('expect.status = "200"'), 4, "check[1].expect.status"),
    "pattern broken": (_check('expect.body = "("'), 4, "not a regular expression"),
    "pattern too greedy": (_check('expect.body = "a{99999999999}"'), 4, "not a regular expression"),
    "in a table of the second check": (
        _check("") + _check('[check.expect]\nbody = "("', "other"),
        9,
        "check[2].expect.body",
    ),
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
    "inline table, key misspelt": (_check('expect = { status = 200, bdy = "x" }'), 4, "did you mean 'body'?"),
    "inline table of several lines": (
        _check('expect = { body = "x", status = [ # }\n200,\n99 ] }'),
        6,
        "check[1].expect.status[2]: input should be greater",
    ),
    "third of many lines": ('[mesh]\npeers = [\n  "a:1", # "b"\n  "b:2",\n  "c"\n]', 5, "mesh.peers[3]: 'c' is not"),
    "behind a text of several lines": (_check('body = """\n[[check]]\nname=1\n"""\nquorum = 0'), 8, "a quorum is"),
    "key of another type": (_check('record = "AAAA"'), 4, "check[1].record: belongs to checks of type 'dns'."),
    "key of several other types": (_check("send = 'x'"), 4, "belongs to checks of type 'tcp' or 'tls'."),
    "expectation of another type": (
        _check("expect.rcode = 'NOERROR'"),
        4,
        "expect.rcode: belongs to checks of type 'dns'.",
    ),
    "expectation of no type that is known": (
        '[[check]]\nname = "a"\ntype = "htp"\nexpect.answer = "x"',
        3,
        "mean 'http'?",
    ),
    "type unknown": (_check('type = "htpp"'), 4, "there is no such type; did you mean 'http'?"),
    "type a number": (_check("type = 1"), 4, "check[1].type:"),
    "type of two kinds": ('[[check]]\nname = "a"\ncommand = ["x"]\nentry = "a:b"', 1, 'with command it is "command"'),
    "command with a target": (_command('target = "https://a"\ncommand = ["x"]'), 4, "a check of this type has none"),
    "command as one text": (
        _command('command = "check_disk -w 10%"'),
        4,
        "check[1].command: input should be a valid list",
    ),
    "command of nothing": (_command("command = []"), 4, "check[1].command:"),
    "command without a program": (_command('command = ["/usr/bin/"]'), 4, "names no program"),
    "command with a zero": (_command('command = ["a\\u0000b"]'), 4, "a zero character"),
    "command in another form": (_command('command = ["a"]\noutput = "xml"'), 5, "'nagios' or 'json'"),
    "no entry": ('[[check]]\nname = "a"\ntype = "python"', 1, "check[1].entry: is missing"),
    "entry of nothing": ('[[check]]\nname = "a"\ntype = "python"\nentry = "a b"', 4, "package.module:function"),
    "argument no JSON": (
        '[[check]]\nname = "a"\ntype = "python"\nentry = "a"\narguments.x = 2026-01-01',
        5,
        "JSON has",
    ),
    "target a number": ('[[check]]\nname = "a"\ntarget = 5', 3, "check[1].target:"),
    "tcp without port": (_check("", target="tcp://db"), 3, "names no port"),
    "tcp with a path": (_check("", target="tcp://db:1/x"), 3, "has no path"),
    "tcp with a user": (_check("", target="tcp://me@db:1"), 3, "neither user info nor query"),
    "ping with a port": (_check("", target="ping://db:1"), 3, "has no port"),
    "dns without a name": (_check("", target="dns://192.0.2.53"), 3, "names no domain"),
    "dns with too much": (_check("", target="dns://192.0.2.53/a/b"), 3, "names no domain"),
    "record unknown": (_check('record = "AAAAA"', target="dns:///a"), 4, "'AAAAA' is no type of DNS record"),
    "code unknown": (_check('expect.rcode = "NOPE"', target="dns:///a"), 4, "'NOPE' is no DNS response code"),
    "server name without TLS": (_check('server_name = "a"', target="dns:///a"), 4, 'needs transport = "tls"'),
    "certificate without TLS": (_check('expect.cert_expires_in = "9d"', target="tcp://a:1"), 4, "needs TLS"),
    "starttls of what has none": (_check('starttls = "gopher"', target="tcp://a:1"), 4, "check[1].starttls:"),
    "broker with a path": (_check("", target="mqtt://a/mqtt"), 3, "that of a WebSocket looks like mqtt+wss://"),
    "broker with a query": (_check("", target="mqtt+wss://a/mqtt?b=c"), 3, "has no query"),
    "broker without TLS": (_check("verify_tls = false", target="mqtt://a"), 4, "begins with mqtts:// or mqtt+wss://"),
    "broker of version 4": (_check('version = "4"', target="mqtt://a"), 4, "check[1].version:"),
    **{
        f"topic {topic}": (_check(f'topic = "{topic}"', target="mqtt://a"), 4, "what topics lie beneath is meant")
        for topic in ("", "a/#", "+", "$SYS", "/a", "a/", "a\\u0000", 257 * "a")
    },
    "time with a path": (_check("", target="ntp://a/b"), 3, "has no path"),
    "time with a user": (_check("", target="ntp://me@a"), 3, "neither user info nor query"),
    "offset a number": (_check("expect.offset = 5", target="ntp://a"), 4, 'such as "30s"'),
    "stratum of none": (_check("expect.stratum = 16", target="ntp://a"), 4, "check[1].expect.stratum:"),
    "packets too many": (_check("packets = 1000", target="ping://a"), 4, "check[1].packets:"),
    "packet too large": (_check("payload_bytes = 70000", target="ping://a"), 4, "check[1].payload_bytes:"),
    "method in small letters": (_check('method = "post"'), 4, 'in capitals, such as "POST"'),
    "header name broken": (
        _check('headers = { "a b" = "x" }'),
        4,
        "check[1].headers.a b: not the name of an HTTP header",
    ),
    "header of two lines": (_check('headers = { A = "x\\r\\nB: y" }'), 4, "control characters"),
    "header twice": (_check('headers = { Accept = "x", accept = "y" }'), 4, "the header 'accept' is there twice"),
    "body twice": (_check('body = "x"\nbody_file = "demesh.toml"'), 5, "there is a body already"),
    "password twice": (
        _check('user = "x"\npassword = "y"\npassword_file = "/proc/sys/kernel/ostype"'),
        6,
        "there is a password already",
    ),
    "password of nobody": (_check('password = "y"'), 4, "a password without a user"),
    "user twice": (_check('user = "x"', target="https://me@example.org"), 4, "names a user already"),
    "proxy no URL": (_check('proxy = "proxy:3128"'), 4, "not the URL of a proxy"),
    "HTTP version unknown": (_check('http_version = "3"'), 4, "check[1].http_version:"),
    "address family a number": (_check("ip = 4"), 4, "check[1].ip:"),
    "CA file absent": (_check('ca_file = "ca.pem"'), 4, "ca.pem cannot be read: No such file"),
    "password file absent": (_check('user = "x"\npassword_file = "pw"'), 5, "pw cannot be read: No such file"),
    "password file a device": (_check('user = "x"\npassword_file = "/dev/zero"'), 5, "is not a regular file"),
    "password file a directory": (_check('user = "x"\npassword_file = "."'), 5, "cannot be read: Is a directory"),
    "body file with a zero in its name": (_check('body_file = "a\\u0000"'), 4, "not the name of a file"),
    "JSONPath broken": (_check('expect.json = { "$.[" = 1 }'), 4, "not a JSONPath"),
    "JSON value a date": (_check('expect.json = { "$.a" = 2026-01-01 }'), 4, "a value that JSON has"),
    "JSON value no number": (_check('expect.json = { "$.a" = nan }'), 4, "a value that JSON has"),
    "expected header's pattern broken": (_check('expect.header = { Server = "(" }'), 4, "not a regular expression"),
    "expectation too long to tell": (_check(f"expect.status = {list(range(100, 600))}"), 4, "at most 1024 can be told"),
    "more labels than can be told": (
        _check("labels = {" + ", ".join(f"l{n} = '{'x' * 1_000}'" for n in range(16)) + "}"),
        2,
        "more than can be told to other nodes",
    ),
    "runbook no URL": (_check('runbook = "see wiki"'), 4, "check[1].runbook:"),
    "dependency unknown": (_check('depends_on = ["wbe"]'), 4, "there is no check 'wbe'; did you mean 'web'?"),
    "dependency on itself": (_check('depends_on = ["web"]'), 4, "comes back to itself: 'web', 'web'"),
    "dependencies in a ring": (
        _check('depends_on = ["b"]', "a") + _check('depends_on = ["a"]', "b"),
        4,
        "comes back to itself: 'a', 'b', 'a'",
    ),
    "spread over nobody": (_check("spread = 0"), 4, "check[1].spread:"),
    "checks no array of tables": ("\ncheck = 5", 2, "check: input should be a valid list"),
    "checks one table": ("\n[check]\nname = 'a'", 2, "check: input should be a valid list"),
    "trust in a word": ('[mesh]\ntrust = "all"', 2, "'swarm' or 'listed'"),
    "member no peer id": ('[mesh]\nmembers = { a = "QmX" }', 2, "is not the peer id"),
    "denied no peer id": (f'[mesh]\ndeny = ["{_ID}",\n "QmX"]', 3, "mesh.deny[2]: 'QmX' is not the peer id"),
    "token file absent": ('[alerts]\ntoken_file = "am.token"', 2, "am.token cannot be read: No such file"),
    "API token file to read absent": (
        '[api]\nread_token_file = "api.token"',
        2,
        "api.token cannot be read: No such file",
    ),
    "API token file absent": ('[api]\ntoken_file = "api.token"', 2, "api.token cannot be read: No such file"),
    "public API without port": ('[api]\npublic_listen = "0.0.0.0"', 2, "write host:port"),
    "public check no name": ('[api]\npublic_checks = ["web", "a*"]', 2, "all checks are *"),
    "notify nobody": ("\n[[notify]]", 2, "notify[1]: needs either url or url_file"),
    "notify a word": ('[[notify]]\nurl = "ntfy"', 2, "one looks like ntfy://"),
    "notify key misspelt": ('[[notify]]\nurl_fil = "ntfy"', 2, "did you mean 'url_file'?"),
    "maintenance some day": ('[[maintenance]]\nname = "a"\nwhen = "someday"', 3, "is no time for maintenance"),
    "maintenance at no hour": (
        '[[maintenance]]\nname = "a"\nwhen = "Sun 25:00-26:00"',
        3,
        "is no time for maintenance",
    ),
    "maintenance nowhere": ('[[maintenance]]\nname = "a"\nwhen = "Sun 01:00-02:00 Mars/X"', 3, "names no time zone"),
    "maintenance of nothing": (
        '[[maintenance]]\nname = "a"\nwhen = "Sun 01:00-02:00"\nchecks = ["wbe"]\n' + _check(""),
        4,
        "there is no check 'wbe'; did you mean 'web'?",
    ),
    "server list of nothing": ("[[server_list]]\nspread = 3", 1, "server_list[1].file: is missing"),
    "size a number": ("[store]\nsize_max = 2", 2, 'a size is text with its unit, such as "2GB"'),
    "size of another unit": ('[store]\nsize_max = "2 blocks"', 2, "is not a size"),
    "size too little": ('[store]\nsize_max = "1MB"', 2, "at least 50 MB are needed"),
    "days none": ("[store]\nraw_days = 0", 2, "store.raw_days:"),
    "hours shorter than raw": ("[store]\nraw_days = 60\nhour_days = 59", 3, "must be at least raw_days, which is 60"),
    "variable not set": (_check('body = "${DEMESH_NOT_SET}"'), 4, "variable DEMESH_NOT_SET is not set"),
    "reference without a name": (_check('expect.body = "x${1}"'), 4, "write $${ for a plain ${"),
    "nested too deep": ("\nx = " + "[" * 30 + "]" * 30, 2, "x: is nested too deep"),
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
        ("x = " + "[" * 100_000, ":1: not TOML: nested too deep."),
        ('[node]\nname = "nas\n', ":2: not TOML"),
        ("[node]\nname = nas\n", ":2: not TOML"),
        ("[node]\n[node]\n", ":2: not TOML"),
        ('name = "a"\nname = "b"\n', ":2: not TOML"),
        (b'[node]\nname = "\xff"', ": not UTF-8"),
        (b"#" * (limits.CONFIG_BYTES_MAX + 1), f": larger than {limits.CONFIG_BYTES_MAX} bytes"),
    ],
    ids=[
        "nested beyond all",
        "text without end",
        "value without quotes",
        "table twice",
        "key twice",
        "not UTF-8",
        "too large",
    ],
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
        '[node]\nnmae = "x"\n\n'
        + _check('interval = "fast"')
        + _check("quorum = 0\nzzz = 1\ntype = 'tcp'")
        + _check("depends_on = ['wbe']", "other")
        + "[defaults]\nfail_after = 0\n"
    )
    path, ran = _run(tmp_path, config)
    lines = [int(line.removeprefix(f"{path}:").partition(":")[0]) for line in ran.err.splitlines()]
    assert lines == [2, 7, 9, 11, 12, 13, 17, 19]


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
        read_settings(path)
    assert len(caught.value.problems) == 2


_BAD_OPTIONS = {
    "target without scheme": (["example.org"], "one of http://, https://"),
    "target of an unknown scheme": (["gopher://example.org"], "one of http://, https://"),
    "target thrice": (
        ["https://a.example/", "https://a.example", "https://a.example/"],
        "Two checks would be named 'https://a.example'",
    ),
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
