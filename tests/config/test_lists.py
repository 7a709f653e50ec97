"""`[[server_list]]`: each server of a list becomes a check; a bad row is named and costs no other."""

from pathlib import Path

import pytest

from demesh import limits
from demesh.config.adopt import rebuild
from demesh.config.command_line import CommandLine
from demesh.config.source import ConfigSource
from tests.config.files import loaded, settings

_HEADER = "type,host,port,transport,family,user,password_file,note\n"
_LIST = '[[server_list]]\nfile = "l.csv"\n'


def _list(directory: Path, *rows: str, name: str = "l.csv") -> None:
    (directory / name).write_text(_HEADER + "\n".join(rows) + "\n")


def test_each_server_becomes_a_check_that_nobody_is_notified_of(tmp_path: Path) -> None:
    _list(tmp_path, "tcp,a.example.net,25,,,,,", "dns,9.9.9.9,,,4,,,", "tls,b.example.net,,,6,,,")
    found = settings(tmp_path, _LIST)
    assert [(each.name, each.public_target, each.probe.ip_version) for each in found.checks] == [
        ("tcp a.example.net:25 tcp", "tcp://a.example.net:25", 0),
        ("dns 9.9.9.9:53 udp v4", "dns://9.9.9.9:53/.", 4),
        ("tls b.example.net:443 tls v6", "tls://b.example.net:443", 6),
    ]
    for check in found.checks:
        assert (check.interval_ms, check.notify, check.spread, check.listed) == (900_000, False, 0, True)
        assert check.row(bytes(16), True).whole, "who adopts it can run it, and knows that it is listed"
        assert ("listed", "true") in check.row(bytes(16), True).keys
    assert found.warnings == ()


def test_the_keys_of_a_list_are_those_of_its_checks(tmp_path: Path) -> None:
    _list(tmp_path, "tcp,a.example.net,25,,,,,")
    keys = 'interval = "1h"\nspread = 3\nnotify = true\nnodes = "tag:eu"\ntimeout = "3s"\nseverity = "info"\n'
    (check,) = settings(tmp_path, f'[defaults]\ntimeout = "9s"\nfail_after = 4\n{_LIST}{keys}').checks
    assert (check.interval_ms, check.spread, check.notify, check.nodes) == (3_600_000, 3, True, ("tag:eu",))
    assert (check.probe.timeout_ms, check.severity, check.fail_after) == (3_000, "info", 4)


@pytest.mark.parametrize(("key", "named"), [("", True), ('addresses = "all"', True), ('addresses = "first"', False)])
def test_a_server_with_a_name_is_checked_on_each_of_its_addresses_unless_its_list_says_otherwise(
    key: str, named: bool, tmp_path: Path
) -> None:
    _list(tmp_path, "stun,a.example.net,,,4,,,", "stun,192.0.9.9,,,4,,,", "stun,2a00:1450::7,,,6,,,")
    found = settings(tmp_path, _LIST + key)
    assert [each.probe.all_addresses for each in found.checks] == [named, False, False]
    for check in found.checks:
        assert rebuild(check.row(bytes(16), False), bytes(16)).probe == check.probe


def test_a_bad_row_is_a_warning_with_its_line_and_the_others_go_on(tmp_path: Path) -> None:
    _list(tmp_path, "tcp,10.0.0.1,25,,,,,", "tcp,a.example.net,25,,,,,", "tcp,b.example.net,x,,,,,")
    found = settings(tmp_path, _LIST)
    assert [each.name for each in found.checks] == ["tcp a.example.net:25 tcp"]
    assert found.warnings == (
        f"{tmp_path}/l.csv:2: the address is no public one. The row is left out.",
        f"{tmp_path}/l.csv:4: the port is no number; are the columns shifted? The row is left out.",
    )


def test_of_many_bad_rows_the_first_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    _list(tmp_path, *["tcp,a,25,,,,,"] * 30)
    found = settings(tmp_path, _LIST)
    assert len(found.warnings) == limits.SERVER_LIST_REFUSALS_TOLD_MAX + 1
    assert "10 more rows" in found.warnings[-1]


@pytest.mark.parametrize(
    ("text", "said"), [(None, "cannot be read"), ("0,1,a.example.net\n", "its name tells no type")]
)
def test_a_list_that_cannot_be_read_is_a_mistake(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "l.csv").write_text(text)
    (problem,) = loaded(tmp_path, _LIST).problems
    assert problem.startswith(f"{tmp_path}/demesh.toml:2: server_list[1].file: ")
    assert said in problem


def test_a_list_may_be_checked_for_nat_behaviour_beside_being_checked(tmp_path: Path) -> None:
    _list(tmp_path, "stun,a.example.net,,,4,,,", "stun,b.example.net,,tcp,,,,", "ntp,c.example.net,,,,,,")
    found = settings(tmp_path, f"{_LIST}nat_behaviour = true\n{_LIST}")
    assert [(each.name, ("nat_behaviour", "true") in each.row(bytes(16), True).keys) for each in found.checks] == [
        ("stun-nat a.example.net:3478 udp v4", True),
        ("stun a.example.net:3478 udp v4", False),
        ("stun b.example.net:3478 tcp", False),
        ("ntp c.example.net:123 udp", False),
    ]
    why = "With nat_behaviour = true, only servers of type stun over udp are checked. The row is left out."
    assert found.warnings == (f"{tmp_path}/l.csv:3: {why}", f"{tmp_path}/l.csv:4: {why}")
    for check in found.checks:
        assert rebuild(check.row(bytes(16), False), bytes(16)).probe == check.probe


def test_a_name_that_is_taken_stays_with_who_had_it(tmp_path: Path) -> None:
    _list(tmp_path, "tcp,a.example.net,25,,,,,", "tcp,b.example.net,25,,,,,")
    _list(tmp_path, "tcp,b.example.net,25,,,,,", name="m.csv")
    own = '[[check]]\nname = "tcp a.example.net:25 tcp"\ntarget = "https://a"\n'
    found = settings(tmp_path, f'{_LIST}[[server_list]]\nfile = "m.csv"\n{own}')
    assert [each.listed for each in found.checks] == [False, True]
    assert [each.partition(": ")[0] for each in found.warnings] == [f"{tmp_path}/l.csv:2", f"{tmp_path}/m.csv:2"]


@pytest.mark.parametrize("type_", ["stun", "ntp", "mqtt", "turn"])
def test_servers_of_a_type_are_checked_by_its_probe(type_: str, tmp_path: Path) -> None:
    _list(tmp_path, f"{type_},a.example.net,,,4,,,")
    (check,) = settings(tmp_path, _LIST).checks
    assert check.probe.type == type_
    assert check.public_target.startswith(f"{type_}://a.example.net:")


def test_a_login_comes_from_its_file_and_is_in_no_sentence(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("mallory\nsesame\n")
    (tmp_path / "one").write_text("sesame\n")
    rows = ("a.example.net,,,,,two,", "b.example.net,,,,me,one,", "c.example.net,,,,,one,", "d.example.net,,,,,gone,")
    _list(tmp_path, *(f"http,{row}" for row in rows))
    found = settings(tmp_path, _LIST)
    assert [each.own_login for each in found.checks] == [True, True]
    assert [each.partition(": ")[0] for each in found.warnings] == [f"{tmp_path}/l.csv:4", f"{tmp_path}/l.csv:5"]
    assert not any(secret in repr(found) for secret in ("sesame", "mallory"))


@pytest.mark.parametrize("name", ["{outside}", "../secret", "sub/../../secret", "link"])
def test_no_row_reads_a_file_outside_the_configurations_directory(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    (here := tmp_path / "here").mkdir()
    (here / "sub").mkdir()
    (here / "sub" / "own").write_text("sesame\n")
    (here / "link").symlink_to(tmp_path / "secret")
    file = name.format(outside=tmp_path / "secret")
    _list(here, f"http,evil.example.net,,,,me,{file},", "http,b.example.net,,,,me,sub/own,")
    found = settings(here, _LIST)
    assert [each.name for each in found.checks] == ["http b.example.net:80 tcp"]
    assert found.warnings == (
        f"{here}/l.csv:2: The password_file must be relative, and lead to a file beneath the directory of the configuration. "
        "The row is left out.",
    )
    assert "sesame" not in repr(found)


def test_a_changed_list_is_noticed_with_the_files_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "demesh.toml").write_text(_LIST)
    _list(tmp_path, "tcp,a.example.net,25,,,,,")
    source = ConfigSource(tmp_path / "demesh.toml", CommandLine())
    assert len(source.load().checks) == 1
    assert tmp_path / "l.csv" in source.files()
    _list(tmp_path, "tcp,a.example.net,25,,,,,", "tcp,b.example.net,25,,,,,")
    assert len(source.load().checks) == 2


def test_too_many_servers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKS_MAX", 2)
    _list(tmp_path, *(f"tcp,{each}.example.net,25,,,,," for each in "abc"))
    assert any("makes 3 checks" in each for each in loaded(tmp_path, _LIST).problems)
