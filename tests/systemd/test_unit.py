"""The text of a unit: what it says for which machine, and that systemd takes it."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from demesh.errors import UsageError
from demesh.systemd.unit import NAME, NOTIFY_RELOAD_VERSION, Unit, data_dir_of, is_untouched, swarm_key_file_of
from tests.e2e.harness import cannot_run

_PROGRAM = ("/opt/demesh/.venv/bin/demesh",)
_SYSTEM = Unit(_PROGRAM, "demesh", Path("/var/lib/demesh"))
_USERS = Unit(_PROGRAM, None)
_DEPLOY = Path(__file__).parents[2] / "deploy"
_EXPOSURE_MAX = 20
"""Of 100, which nothing that keeps to itself would have: a node talks to the whole network, and runs what its checks say."""


def _settings(unit: Unit) -> dict[str, str]:
    lines = [line for line in unit.text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_machines_unit_runs_this_program_as_its_own_user_in_its_own_directories() -> None:
    said = _settings(_SYSTEM)
    assert said["ExecStart"] == "/opt/demesh/.venv/bin/demesh node run"
    assert (said["User"], said["StateDirectory"], said["Environment"]) == (
        "demesh",
        "demesh",
        "DEMESH_HOME=/var/lib/demesh",
    )
    assert said["RuntimeDirectoryPreserve"] == "yes", "or every restart begins a new epoch of a node's log"
    assert said["RuntimeDirectoryMode"] == "0750"
    assert said["NotifyAccess"] == "main"
    assert said["WantedBy"] == "multi-user.target"
    assert "ReadWritePaths" not in said


def test_a_users_unit_asks_for_nothing_that_a_user_may_not() -> None:
    said = _settings(_USERS)
    assert not {"User", "StateDirectory", "AmbientCapabilities", "ProtectSystem", "PrivateTmp"} & said.keys()
    assert said["WantedBy"] == "default.target"
    assert said["RuntimeDirectoryPreserve"] == "yes"
    assert said["NoNewPrivileges"] == "yes"


def test_a_reload_is_told_of_where_systemd_knows_that_and_by_a_signal_elsewhere() -> None:
    old, new = _settings(_SYSTEM), _settings(replace(_SYSTEM, notify_reload=True))
    assert (old["Type"], old["ExecReload"]) == ("notify", "/bin/kill -HUP $MAINPID")
    assert new["Type"] == "notify-reload"
    assert "ExecReload" not in new


def test_the_right_to_send_raw_packets_is_given_only_where_ping_needs_it() -> None:
    assert _settings(_SYSTEM)["AmbientCapabilities"] == _settings(_SYSTEM)["CapabilityBoundingSet"] == ""
    assert _settings(replace(_SYSTEM, raw_ping=True))["AmbientCapabilities"] == "CAP_NET_RAW"


def test_a_swarm_key_elsewhere_is_handed_over_as_a_credential() -> None:
    text = replace(_SYSTEM, swarm_key_file=Path("/etc/demesh/swarm.key")).text()
    assert "LoadCredential=swarm.key:/etc/demesh/swarm.key\n" in text
    assert "Environment=DEMESH_SWARM_KEY_FILE=%d/swarm.key\n" in text
    assert "Environment=DEMESH_SWARM_KEY_FILE=/home/ann/swarm.key\n" in (
        replace(_USERS, swarm_key_file=Path("/home/ann/swarm.key")).text()
    )
    with pytest.raises(UsageError, match="cannot stand in a unit"):
        replace(_SYSTEM, swarm_key_file=Path("/etc/my keys/swarm.key")).text()


def test_a_data_directory_elsewhere_may_be_written_also_in_a_home() -> None:
    said = _settings(Unit(_PROGRAM, "ann", Path("/home/ann/mesh data")))
    assert said["ReadWritePaths"] == '"/home/ann/mesh data"'
    assert said["ProtectHome"] == "read-only"
    assert "StateDirectory" not in said
    assert _settings(_SYSTEM)["ProtectHome"] == "yes"
    assert _settings(replace(_SYSTEM, data_dir=Path("/var/lib/mesh/fra")))["StateDirectory"] == "mesh/fra"


@pytest.mark.parametrize("home", ["/home/ann", "/root", "/run/user/1000"])
def test_a_home_is_open_to_a_unit_whose_program_or_python_is_there(home: str) -> None:
    assert _settings(replace(_SYSTEM, program=(f"{home}/demesh/.venv/bin/demesh",)))["ProtectHome"] == "read-only"
    python = frozenset([Path("/opt/demesh/.venv"), Path(f"{home}/.pyenv/versions/3.12.1")])
    assert _settings(replace(_SYSTEM, installation=python))["ProtectHome"] == "read-only"


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    assert _settings(_SYSTEM)["Restart"] == "on-failure"
    assert _settings(_SYSTEM)["RestartPreventExitStatus"] == str(UsageError.exit_code)


def test_what_is_special_in_a_unit_is_not_in_a_path() -> None:
    program = ("/opt/100% mine/$HOME/bin/python", "-m", "$demesh")
    said = _settings(Unit(program, None, Path('/srv/50% "a"')))
    assert said["ExecStart"] == '"/opt/100%% mine/$HOME/bin/python" -m $$demesh node run'
    assert said["Environment"] == r'"DEMESH_HOME=/srv/50%% \"a\""'
    with pytest.raises(UsageError, match="control characters"):
        Unit(("/opt/a\nExecStartPre=/bin/sh",), None).text()
    with pytest.raises(UsageError, match="quotes or backslashes"):
        Unit(('/opt/"mine"/demesh',), None).text()
    with pytest.raises(UsageError, match="a colon is special"):
        replace(_SYSTEM, data_dir=Path("/var/lib/mesh:fra")).text()
    assert "DEMESH_HOME=/srv/mesh:fra\n" in Unit(_PROGRAM, "ann", Path("/srv/mesh:fra")).text()


@pytest.mark.parametrize("path", ["/srv/mesh", '/srv/50% "a" \\ b', "/srv/%%", "/home/ann/100%d/my mesh"])
def test_a_unit_tells_the_paths_that_it_was_given(path: str) -> None:
    named = Path(path)
    for user, key in (("ann", Path("/etc/demesh/50%/swarm.key")), (None, named)):
        text = Unit(_PROGRAM, user, named, key).text()
        assert (data_dir_of(text), swarm_key_file_of(text)) == (named, key)
    assert (data_dir_of(_USERS.text()), swarm_key_file_of(_SYSTEM.text()), data_dir_of("")) == (None, None, None)
    assert data_dir_of("Environment=DEMESH_HOME=%h/mesh\n") is None


def test_a_unit_that_somebody_changed_is_told_from_one_of_another_version() -> None:
    text = _SYSTEM.text()
    assert is_untouched(text)
    assert is_untouched(_USERS.text())
    assert not is_untouched(text.replace("WatchdogSec=60", "WatchdogSec=10"))
    assert not is_untouched(text + "\n")
    assert not is_untouched(text.partition("\n")[2])
    assert not is_untouched("")


@pytest.mark.parametrize(("name", "unit"), [(NAME, _SYSTEM), ("demesh-user.service", _USERS)])
def test_the_units_in_deploy_are_what_is_written(name: str, unit: Unit) -> None:
    assert (_DEPLOY / name).read_text() == replace(unit, notify_reload=True).text()


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze") or cannot_run("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def _of_this_systemd(unit: Unit) -> Unit:
    version = re.match(r"systemd (\d+)", _analyze("--version").stdout)
    assert version
    return replace(unit, program=("/bin/sh",), notify_reload=int(version[1]) >= NOTIFY_RELOAD_VERSION)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        _SYSTEM,
        replace(_SYSTEM, raw_ping=True, swarm_key_file=Path("/etc/demesh/swarm.key")),
        Unit(_PROGRAM, "ann", Path("/srv/my mesh")),
        _USERS,
    ],
)
def test_systemd_has_nothing_to_say_against_it(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(_of_this_systemd(unit).text())
    scope = "--system" if unit.user else "--user"
    verified = _analyze("verify", scope, "--man=no", "--recursive-errors=no", str(tmp_path / NAME))
    assert [line for line in verified.stderr.splitlines() if NAME in line] == []


@pytest.mark.slow
def test_systemd_finds_the_program_whatever_its_path_is(tmp_path: Path) -> None:
    program = tmp_path / "100% mine" / "$HOME; x" / "demesh"
    program.parent.mkdir(parents=True)
    unit = replace(_of_this_systemd(_SYSTEM), program=(str(program), "$HOME"))
    (tmp_path / NAME).write_text(unit.text())
    verify = ("verify", "--man=no", "--recursive-errors=no", str(tmp_path / NAME))
    assert "No such file" in _analyze(*verify).stderr, "it looks"
    program.touch(mode=0o755)
    assert [line for line in _analyze(*verify).stderr.splitlines() if NAME in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("raw_ping", [False, True])
def test_it_exposes_little(raw_ping: bool, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(_of_this_systemd(replace(_SYSTEM, raw_ping=raw_ping)).text())
    judged = _analyze(
        "security", "--offline=true", f"--threshold={_EXPOSURE_MAX}", "--json=short", str(tmp_path / NAME)
    )
    assert judged.returncode == 0, judged.stderr
    missing = {each["name"] for each in json.loads(judged.stdout) if each.get("set") is False}
    assert not missing & {"NoNewPrivileges=", "ProtectSystem=", "MemoryDenyWriteExecute=", "PrivateDevices="}
