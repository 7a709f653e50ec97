"""`demesh check`: what is in the configuration is told without its secrets, and changed without harm to the rest."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import Ran, demesh

_EXAMPLES = Path(__file__).parents[1] / "config/examples"
_TEXT = """\
# Kept as it is.
[node]
name = "nas"     # the one in the cellar

[[check]]
name = "blog"
target = "https://me:sesame@blog.example.net/?token=sesame"   # the public one
interval = "30s" # often
expect = { status = 200, body = "Welcome" }

[api]            # between two checks
listen = "127.0.0.1:8470"

[[check]]
# above its name
name = "db"
target = "tcp://db.example.net:5432"
[check.labels]
team = "ops"
"""
_MORE = '[[check]]\nname = "more"\ntarget = "ping://192.0.2.1"\n# the end\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "checks").mkdir(parents=True)
    (home / "demesh.toml").write_text(_TEXT)
    (home / "checks/more.toml").write_text(_MORE)
    return home


def _check(home: Path, *arguments: str, **environment: str) -> Ran:
    return demesh(home, "check", *arguments, **environment)


def _done(home: Path, *arguments: str) -> str:
    """What is printed by a command that succeeds, and says nothing else."""
    ran = _check(home, *arguments)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def _text(home: Path) -> str:
    return (home / "demesh.toml").read_text()


def _listed(home: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(_done(home, "list", "--json"))}


def test_list_tells_every_check_in_its_public_form(home: Path) -> None:
    assert json.loads(_done(home, "list", "--json"))[0] == {
        "name": "blog",
        "type": "http",
        "target": "https://blog.example.net/",
        "interval_ms": 30_000,
        "deadline_ms": 30_000 + 10_000 + 2 * 10_000 + 30_000,
        "nodes": ["*"],
        "spread": None,
        "from": None,
        "state": "on",
        "runs_here": True,
        "file": str(home / "demesh.toml"),
        "line": 5,
        "listed": False,
    }
    assert list(_listed(home)) == ["blog", "db", "more"]
    assert (_listed(home)["more"]["file"], _listed(home)["more"]["line"]) == (str(home / "checks/more.toml"), 1)
    said = _done(home, "list")
    assert "tcp://db.example.net:5432" in said
    assert "sesame" not in said


def test_list_without_a_configuration_says_so(tmp_path: Path) -> None:
    ran = _check(tmp_path / "home", "list")
    assert ran.code == 2
    assert "`demesh init` makes one" in ran.err
    (tmp_path / "demesh.toml").write_text("")
    assert "No checks. Add one" in _done(tmp_path / "home", "list", "--config", str(tmp_path / "demesh.toml"))


def test_list_tells_what_it_can_of_a_configuration_with_problems(home: Path) -> None:
    (home / "checks/more.toml").write_text(_MORE + '[[check]]\nname = "bad"\ntarget = "tcp://x:1"\nuser = "u"\n')
    ran = _check(home, "list", "--json")
    assert ran.code == 2
    assert {row["name"]: row["state"] for row in json.loads(ran.out)} == {
        "blog": "on",
        "db": "on",
        "more": "on",
        "bad": "invalid",
    }
    assert "more.toml:8: check[2].user: belongs to checks of type" in ran.err


def test_add_appends_a_check_and_keeps_the_rest(home: Path) -> None:
    said = _done(
        home,
        *("add", "shop", "https://shop.example.net/a", "--interval", "45s", "--nodes", "nas", "--nodes", "tag:eu"),
        *(
            "--expect-status",
            "200",
            "--expect-status",
            "204",
            "--option",
            "expect.body=a = b",
            "--option",
            "fail_after=3",
        ),
        *("--option", "labels.team=ops", "--option", "headers.Accept=text/html"),
    )
    assert said == f"Added 'shop' in {home}/demesh.toml.\n"
    assert _text(home).startswith(_TEXT + "\n[[check]]\n")
    assert _text(home).removeprefix(_TEXT).splitlines() == [
        "",
        "[[check]]",
        'name = "shop"',
        'target = "https://shop.example.net/a"',
        'interval = "45s"',
        'nodes = ["nas", "tag:eu"]',
        'expect = {status = [200, 204], body = "a = b"}',
        "fail_after = 3",
        'labels = {team = "ops"}',
        'headers = {Accept = "text/html"}',
    ]
    assert _listed(home)["shop"]["interval_ms"] == 45_000


def test_add_takes_a_command(home: Path) -> None:
    _done(home, "add", "disk", "--option", "type=command", "--option", 'command=["check_disk", "-w", "10%"]')
    assert _listed(home)["disk"]["target"] == "command:check_disk"


def test_add_makes_the_file_if_there_is_a_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = _check(home, "add", "a", "https://a.example.net")
    assert ran.code == 2
    assert "demesh init" in ran.err
    assert not home.exists()
    home.mkdir()
    _done(home, "add", "a", "https://a.example.net")
    assert _text(home) == '[[check]]\nname = "a"\ntarget = "https://a.example.net"\n'
    assert stat.S_IMODE((home / "demesh.toml").stat().st_mode) == 0o600


def test_set_changes_keys_and_nothing_else(home: Path) -> None:
    _done(
        home, "set", "blog", "interval=1m", "expect.status=[200, 204]", "expect.header.Server=nginx", "severity=warning"
    )
    assert _text(home) == _TEXT.replace('"30s" # often', '"1m" # often').replace(
        'expect = { status = 200, body = "Welcome" }\n',
        'expect = { status = [200, 204], body = "Welcome", header = {Server = "nginx"}}\nseverity = "warning"\n',
    )
    _done(home, "set", "db", "labels.team=web", "labels.more=x")
    assert 'team = "web"\nmore = "x"\n' in _text(home)


def test_a_value_is_toml_or_else_plain_text(home: Path) -> None:
    _done(
        home, "set", "blog", 'runbook="https://a"', "expect.body={unbalanced, x = 1", "fail_after=4", "verify_tls=false"
    )
    said = _text(home)
    for line in ('runbook = "https://a"', 'body = "{unbalanced, x = 1"', "fail_after = 4", "verify_tls = false"):
        assert line in said


def test_a_check_is_changed_in_the_file_that_has_it(home: Path) -> None:
    _done(home, "set", "more", "packets=3")
    assert (home / "checks/more.toml").read_text() == _MORE.replace("# the end", "packets = 3\n# the end")
    assert _text(home) == _TEXT
    _done(home, "remove", "more")
    assert "check" not in (home / "checks/more.toml").read_text()
    assert list(_listed(home)) == ["blog", "db"]


def test_remove_takes_a_check_out_and_keeps_the_rest(home: Path) -> None:
    _done(home, "remove", "blog")
    begin, end = _TEXT.index("[[check]]"), _TEXT.index("[api]")
    assert _text(home) == _TEXT[:begin] + _TEXT[end:]
    _done(home, "remove", "db")
    assert _text(home) == _TEXT[:begin] + _TEXT[end : _TEXT.rindex("[[check]]")]


def test_a_paused_check_is_told_as_such_and_resumed(home: Path) -> None:
    assert _done(home, "pause", "blog") == f"Paused 'blog' in {home}/demesh.toml.\n"
    row = _listed(home)["blog"]
    assert (row["state"], row["runs_here"]) == ("paused", False)
    _done(home, "pause", "blog")
    assert _done(home, "resume", "blog") == f"Resumed 'blog' in {home}/demesh.toml.\n"
    row = _listed(home)["blog"]
    assert (row["state"], row["runs_here"]) == ("on", True)


def test_mode_and_links_are_kept_and_nothing_else_is_left_behind(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.toml"
    shutil.move(home / "demesh.toml", path)
    (home / "demesh.toml").symlink_to(path)
    path.chmod(0o640)
    _done(home, "pause", "db")
    assert (home / "demesh.toml").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "enabled = false" in path.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere.toml", "home"]


def test_lines_keep_the_ends_they_have(home: Path) -> None:
    (home / "demesh.toml").write_bytes(_TEXT.replace("\n", "\r\n").encode())
    _done(home, "add", "a", "https://a.example.net")
    _done(home, "set", "blog", "interval=1m")
    raw = (home / "demesh.toml").read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n") > 20


_REFUSED = {
    "a name that is taken": (("add", "blog", "https://a"), "there is another check named 'blog'"),
    "a name that is taken elsewhere": (("add", "more", "https://a"), "there is another check named 'more'"),
    "a name that cannot be": (("add", "/", "https://a"), "a name has 1 to 64"),
    "no target": (("add", "new"), "target: is missing."),
    "a target without host": (("add", "new", "https:///a"), "names no host"),
    "a target with a secret": (("add", "new", "ftp://me:sesame@a?sesame"), "must begin with one of"),
    "an interval that is none": (("add", "new", "https://a", "--interval", "often"), "'often' is not a duration"),
    "a status that is none": (("add", "new", "https://a", "--expect-status", "ok"), "'ok' is not a valid integer"),
    "a status that cannot be": (("add", "new", "https://a", "--expect-status", "99"), "expect.status"),
    "an option without value": (("add", "new", "https://a", "--option", "severity"), "'severity' is not KEY=VALUE"),
    "an option without key": (("add", "new", "https://a", "--option", "=sesame"), "is not KEY=VALUE"),
    "a key with an empty part": (("set", "blog", "expect.=sesame"), "'expect.' is not KEY=VALUE"),
    "a key that is none": (("set", "blog", "intervall=sesame"), "no such key; did you mean 'interval'?"),
    "a key of another type": (("set", "blog", "record=A"), "belongs to checks of type 'dns'"),
    "a key of nothing": (("set", "blog", "zzz.yyy=sesame"), "there is no such key"),
    "a value that is none": (("set", "blog", "fail_after=sesame"), "check[1].fail_after:"),
    "a password without user": (("set", "db", "password=sesame"), "belongs to checks of type"),
    "a password file that is not there": (
        ("set", "more", "name=other", "target=https://a", "user=me", "password_file=none"),
        "none cannot be read: No such file",
    ),
    "a variable that is not set": (("set", "blog", "body=${DEMESH_NOT_SET}"), "variable DEMESH_NOT_SET is not set"),
    "no keys": (("set", "blog"), "KEY=VALUE"),
    "a check that there is not": (("set", "blgo", "fail_after=3"), "no check named 'blgo'; did you mean 'blog'?"),
    "to remove none": (("remove", "dbb"), "There is no check named 'dbb'; did you mean 'db'?"),
    "to pause none": (("pause", "zzzzzz"), "There is no check named 'zzzzzz'."),
    "to resume none": (("resume", "mor"), "did you mean 'more'?"),
    "a configuration that is not there": (("list", "--config", "/nonexistent/demesh.toml"), "cannot be read"),
    "to add to none": (("add", "a", "https://a", "--config", "/nonexistent/demesh.toml"), "There is no directory"),
    "to remove from none": (("remove", "a", "--config", "/nonexistent/demesh.toml"), "cannot be read"),
    "an option that is none": (("list", "--jsn"), "--json"),
    "a command that is none": (("vaildate",), "No such command"),
}


@pytest.mark.parametrize(("arguments", "sentence"), _REFUSED.values(), ids=_REFUSED)
def test_what_would_do_harm_is_refused_and_nothing_changed(
    arguments: tuple[str, ...], sentence: str, home: Path
) -> None:
    ran = _check(home, *arguments)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.out == ""
    assert "sesame" not in ran.err
    assert "Traceback" not in ran.err
    assert _text(home) == _TEXT
    assert (home / "checks/more.toml").read_text() == _MORE
    assert sorted(each.name for each in home.iterdir()) == ["checks", "demesh.toml"]


def test_what_is_wrong_with_a_new_check_has_no_place_in_the_file_yet(home: Path) -> None:
    assert _check(home, "add", "new").err == "target: is missing.\n"
    said = _check(home, "add", "blog", "https://a", "--option", "zzz=1").err.splitlines()
    assert [each.split(":")[0] for each in said] == ["name", "zzz"]


def test_what_is_wrong_elsewhere_because_of_a_new_check_keeps_its_place(home: Path) -> None:
    (home / "demesh.toml").write_text(_TEXT.replace('name = "db"', 'name = "db"\ndepends_on = ["new"]'))
    said = _check(home, "add", "new", "https://a", "--option", 'depends_on=["db"]').err
    assert said.startswith(f"{home}/demesh.toml:17: check[2].depends_on: comes back to itself: 'db', 'new'")


def test_problems_that_were_there_before_hinder_no_change(home: Path) -> None:
    (home / "demesh.toml").write_text(_TEXT.replace('interval = "30s"', 'body = "${DEMESH_NOT_SET}"'))
    ran = _check(home, "pause", "db")
    assert ran.code == 0
    assert "had problems before and still has them" in ran.err
    assert "variable DEMESH_NOT_SET is not set" in ran.err
    assert "enabled = false" in _text(home)
    assert _check(home, "set", "db", "zzz=1").code == 2


def test_a_check_that_is_wrong_can_be_removed(home: Path) -> None:
    (home / "demesh.toml").write_text(_TEXT.replace("blog.example.net", ""))
    assert _check(home, "validate").code == 2
    _done(home, "remove", "blog")
    assert _check(home, "validate").code == 0


@pytest.mark.parametrize(
    "text",
    [
        'check = [ { name = "a", target = "https://a.example.net" } ]\n',
        '[[check]]\nname = "a"\ntarget = "https://a.example.net"\n[api]\n[check.labels]\nenabled = "1"\n',
    ],
    ids=["an array in a line", "a table with another one in between"],
)
@pytest.mark.parametrize("arguments", [("set", "a", "labels.b=c"), ("remove", "a"), ("add", "b", "https:///")])
def test_a_file_that_cannot_be_changed_without_harm_is_left_alone(
    arguments: tuple[str, ...], text: str, home: Path
) -> None:
    (home / "demesh.toml").write_text(text)
    ran = _check(home, *arguments)
    assert ran.code == 2
    assert "edit it by hand" in ran.err or arguments[0] == "add"
    assert _text(home) == text


def test_what_stops_the_writing_is_said_and_leaves_nothing_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("demesh.config.edit.os.fsync", full)
    ran = _check(home, "pause", "db")
    assert ran.code == 2
    assert f"Cannot write {home}/demesh.toml: No space left on device." in ran.err
    assert _text(home) == _TEXT
    assert sorted(each.name for each in home.iterdir()) == ["checks", "demesh.toml"]


def test_validate_tells_what_will_be_done_and_what_it_costs(home: Path) -> None:
    _done(home, "add", "far", "dns:///example.org", "--nodes", "elsewhere", "--interval", "5m")
    _done(home, "pause", "more")
    answer = json.loads(_done(home, "validate", "--json"))
    assert answer["problems"] == []
    assert {row["name"]: (row["deadline_ms"], row["state"], row["runs_here"]) for row in answer["checks"]} == {
        "blog": (90_000, "on", True),
        "db": (120_000, "on", True),
        "far": (360_000, "on", False),
        "more": (120_000, "paused", False),
    }
    totals = answer["totals"]
    assert (totals["checks"], totals["run_here"], totals["checks_per_minute"]) == (4, 2, 3.0)
    assert 1_300_000 < totals["log_bytes_per_day"] < 1_700_000
    said = _done(home, "validate")
    assert "1m 30s" in said
    assert "4 checks, of which 2 here: 3 checks a minute, about 1.46 MB a day in this node's log." in said
    assert "sesame" not in said


@pytest.mark.parametrize("command", ["list", "validate"])
def test_what_is_piped_has_each_check_on_one_line_with_its_whole_target(command: str, home: Path) -> None:
    target = "https://a-long-name.of-some-host.example.net:8443/with/a/path/that/goes/on/and/on/and/on/health"
    _done(home, "add", "far", target, "--nodes", "one-node", "--nodes", "another-node", "--nodes", "tag:and-more")
    ran = _check(home, command, COLUMNS="80")
    (line,) = (line for line in ran.out.splitlines() if line.startswith("far "))
    assert target in line.split()
    assert "one-node, another-node, tag:and-more" in line
    assert line.rstrip().endswith(" on")


def test_validate_takes_the_keepers_example(home: Path) -> None:
    shutil.copy(_EXAMPLES / "keeper.toml", home / "demesh.toml")
    (home / "turn.password").write_text("sesame")
    shutil.copytree(Path(__file__).parents[2] / "server_lists", home / "server_lists")
    said = _done(home, "validate")
    assert "our-turn" in said
    assert {row["state"] for row in json.loads(_done(home, "validate", "--json"))["checks"]} == {"on"}


def test_validate_names_every_problem(home: Path) -> None:
    (home / "demesh.toml").write_text(_TEXT + "zzz = 1\n")
    (home / "checks/more.toml").write_text(_MORE + "[")
    ran = _check(home, "validate")
    assert (ran.code, ran.out) == (2, "")
    assert [line.split(": ")[0] for line in ran.err.splitlines()] == [
        f"{home}/demesh.toml:20",
        f"{home}/checks/more.toml:5",
    ]
    as_json = _check(home, "validate", "--json")
    assert as_json.code == 2
    assert json.loads(as_json.out)["problems"] == ran.err.splitlines()
    assert json.loads(as_json.out)["totals"] is None
