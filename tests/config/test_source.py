"""Settings can be taken anew, with the command line's still over them; bad ones are refused as a whole."""

from pathlib import Path

import pytest

from demesh.address import parse_peer
from demesh.config.command_line import CommandLine
from demesh.config.source import ConfigSource
from demesh.errors import ConfigError, UsageError
from tests.config.files import written

_CHECK = '[[check]]\nname = "{}"\ntarget = "https://example.org"\n'


def test_the_command_line_stands_over_whatever_the_files_say_later(tmp_path: Path) -> None:
    path = written(tmp_path, main='[node]\nname = "file"\n[mesh]\npeers = ["a:1"]\n' + _CHECK.format("one"))
    line = CommandLine(
        name="line",
        listen=("127.0.0.1:1",),
        advertise=("b:2",),
        api="none",
        peers=("c:3",),
        swarm_key_file="k",
        alertmanagers=("http://am:9093/",),
        targets=("tcp://db:5432",),
    )
    source = ConfigSource(path, line)
    found = source.load()
    assert (found.name, found.api, found.swarm_key_file) == ("line", None, Path("k"))
    assert (found.listen, found.advertise) == ((("127.0.0.1", 1),), (("b", 2),))
    assert found.peers == (parse_peer("a:1"), parse_peer("c:3"))
    assert found.alertmanagers == ("http://am:9093",)
    assert source.load() == found
    assert [check.name for check in found.checks] == ["one", "db:5432"]
    written(tmp_path, main='[node]\nname = "file"\n[defaults]\ninterval = "5s"\n', more=_CHECK.format("two"))
    found = source.load()
    assert (found.name, found.peers) == ("line", (parse_peer("c:3"),))
    assert [(check.name, check.interval_ms) for check in found.checks] == [("two", 5_000), ("db:5432", 5_000)]


def test_nothing_on_the_command_line_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        main='[node]\nname = "n"\n[mesh]\nlisten = ["a:1"]\nadvertise = ["a:2"]\nswarm_key_file = "k"\n[api]\n'
        'listen = "127.0.0.1:9"\n[alerts]\nalertmanager = "http://am:9093"\n',
    )
    found = ConfigSource(path, CommandLine()).load()
    assert (found.name, found.listen, found.advertise) == ("n", (("a", 1),), (("a", 2),))
    assert (found.swarm_key_file, found.api) == (tmp_path / "k", ("127.0.0.1", 9))
    assert found.alertmanagers == ("http://am:9093",)


def test_a_bad_configuration_is_refused_and_the_next_good_one_taken(tmp_path: Path) -> None:
    path = written(tmp_path, main=_CHECK.format("one"))
    source = ConfigSource(path, CommandLine())
    good = source.load()
    written(tmp_path, main=_CHECK.format("one") + "zzz = 1\nquorum = 0")
    with pytest.raises(ConfigError) as caught:
        source.load()
    assert len(caught.value.problems) == 2
    written(tmp_path, main=_CHECK.format("one"))
    assert source.load() == good


def test_a_file_that_is_not_needed_may_be_missing_but_not_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "demesh.toml"
    assert ConfigSource(path, CommandLine(), needed=False).load().checks == ()
    with pytest.raises(ConfigError, match="No such file"):
        ConfigSource(path, CommandLine()).load()
    path.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        ConfigSource(path, CommandLine(), needed=False).load()


@pytest.mark.parametrize("needed", [True, False])
def test_a_file_that_is_gone_since_it_was_loaded_is_no_empty_configuration(needed: bool, tmp_path: Path) -> None:
    path = tmp_path / "demesh.toml"
    path.write_text(_CHECK.format("one"))
    source = ConfigSource(path, CommandLine(), needed=needed)
    good = source.load()
    path.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(ConfigError, match="is gone; the last good configuration stays"):
            source.load()
    (tmp_path / "away").rename(path)
    assert source.load() == good
    path.write_text("")
    assert source.load().checks == ()


def test_a_file_that_came_later_is_missed_when_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "demesh.toml"
    source = ConfigSource(path, CommandLine(), needed=False)
    assert source.load().checks == ()
    path.write_text(_CHECK.format("one"))
    assert len(source.load().checks) == 1
    path.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        source.load()


def test_checks_beside_a_missing_file_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, more=_CHECK.format("two"))
    (found,) = ConfigSource(path, CommandLine(), needed=False).load().checks
    assert found.name == "two"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("tcp://db", "names no port"),
        ("dns://", "names no domain"),
        (f"https://example.org/{'x' * 2_000}", "longer than 1024 characters"),
    ],
)
def test_a_target_that_no_check_can_have_is_refused(target: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        ConfigSource(tmp_path / "none", CommandLine(targets=(target,)), needed=False).load()


def test_nothing_in_a_target_on_the_command_line_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "sesame")
    (found,) = ConfigSource(tmp_path / "none", CommandLine(targets=("https://a/${X}",)), needed=False).load().checks
    assert found.probe.target == "https://a/${X}"


def test_it_knows_all_the_files_that_its_settings_depend_on(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("sesame")
    path = written(tmp_path, main="", more=_CHECK.format("a") + 'user = "me"\npassword_file = "pw"\n')
    source = ConfigSource(path, CommandLine())
    more = tmp_path / "checks/more.toml"
    assert source.files() == {path, more, tmp_path / "checks"}
    source.load()
    assert source.files() == {path, more, tmp_path / "checks", tmp_path / "pw"}
    written(tmp_path, other="")
    assert tmp_path / "checks/other.toml" in source.files()
