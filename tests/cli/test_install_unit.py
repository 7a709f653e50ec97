"""`demesh install-unit`: writes once, says what is next, and leaves alone what somebody has changed."""

import os
import pwd
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from demesh.systemd import installing
from demesh.systemd import machine as machine_module
from demesh.systemd.unit import NAME, is_untouched
from tests.cli.harness import Ran, demesh


def _install(tmp_path: Path, *arguments: str, **environment: str) -> Ran:
    """As a user who named no data directory."""
    places = {"DEMESH_HOME": "", "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "SUDO_USER": ""}
    return demesh(Path(), "install-unit", *arguments, **places | environment)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where units of the machine go, which is root's, and where this demesh is open to everybody."""
    units = tmp_path / "units"
    monkeypatch.setattr(installing, "SYSTEM_UNITS", units)
    monkeypatch.setattr(machine_module, "unreachable", lambda user: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return units


def test_a_unit_of_ones_own_runs_this_very_demesh_and_is_written_once(tmp_path: Path) -> None:
    first = _install(tmp_path, "--user")
    path = tmp_path / "systemd/user" / NAME
    assert first.code == 0
    assert f"Wrote {path}." in first.out
    assert "systemctl --user daemon-reload\n  systemctl --user enable --now demesh\n" in first.out
    assert f"ExecStart={Path(sys.executable).absolute().with_name('demesh')} node run\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    again = _install(tmp_path, "--user")
    assert again.code == 0
    assert f"{path} is as it should be." in again.out
    assert list(path.parent.iterdir()) == [path]


def test_only_printed_it_is_what_would_be_written(tmp_path: Path) -> None:
    printed = _install(tmp_path, "--user", "--print")
    assert list(tmp_path.iterdir()) == []
    _install(tmp_path, "--user")
    assert (tmp_path / "systemd/user" / NAME).read_text() == printed.out


def test_a_unit_of_another_version_is_replaced_and_one_that_was_changed_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "systemd/user" / NAME
    _install(tmp_path, "--user", "--data-dir", "/srv/mesh")
    assert "DEMESH_HOME=/srv/mesh" in path.read_text()
    assert "Wrote" in _install(tmp_path, "--user", "--data-dir", "/srv/other").out
    ours = path.read_text()
    assert "DEMESH_HOME=/srv/other" in ours
    path.write_text(ours.replace("WatchdogSec=60", "WatchdogSec=10"))
    refused = _install(tmp_path, "--user")
    assert refused.code == 2
    assert str(path) in refused.err
    assert "--force" in refused.err
    assert "drop-in" in refused.err
    assert "WatchdogSec=10" in path.read_text()
    forced = _install(tmp_path, "--user", "--force")
    assert forced.code == 0
    assert "nothing that it named was taken over" in forced.out
    assert "DEMESH_HOME" not in path.read_text(), "what somebody else wrote is not read back"
    path.write_text(path.read_text() + "\n")
    assert _install(tmp_path, "--user", "--force", "--data-dir", "/srv/other").code == 0
    assert path.read_text() == ours


def test_what_the_unit_before_was_told_need_not_be_told_again(tmp_path: Path, machine: Path) -> None:
    """As after an update, when whoever runs it may know nothing of how it was set up."""
    (home := tmp_path / "my mesh").mkdir()
    os.chown(home, *pwd.getpwnam("daemon")[2:4])
    key = ("--swarm-key-file", "/etc/demesh/swarm.key")
    for told in (("--user", *key), key, ("--data-dir", str(home), *key)):
        of = told[:1] if "--user" in told else ()
        first = _install(tmp_path, *told)
        again = _install(tmp_path, *of)
        assert (first.code, again.code) == (0, 0), first.err + again.err
        assert "as it should be" in again.out
        assert "  swarm key  /etc/demesh/swarm.key\n" in again.out
        assert _install(tmp_path, *of, "--print").out == _install(tmp_path, *told, "--print").out
    assert f"DEMESH_HOME={home}" in (machine / NAME).read_text()
    assert "Wrote" in _install(tmp_path, "--swarm-key-file", "").out
    assert "swarm.key" not in _settings(machine / NAME)


def test_what_the_unit_before_was_told_is_never_guessed_at(tmp_path: Path, machine: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        home.mkdir()
        os.chown(home, *pwd.getpwnam("daemon")[2:4])
    assert _install(tmp_path, "--data-dir", str(one), "--swarm-key-file", "/etc/demesh/swarm.key").code == 0
    assert "SWARM_KEY_FILE" not in _install(tmp_path, "--data-dir", str(other), "--print").out, (
        "another node, another key"
    )
    contradicted = _install(tmp_path, DEMESH_HOME=str(other))
    assert contradicted.code == 2
    assert f"DEMESH_HOME is {other}, and the unit that is there names {one}" in contradicted.err
    assert _install(tmp_path, DEMESH_HOME=str(one)).code == 0
    one.rename(moved := tmp_path / "moved")
    gone = _install(tmp_path)
    assert gone.code == 2
    assert f"{one}, which is gone" in gone.err
    assert "--data-dir" in gone.err
    assert _install(tmp_path, "--data-dir", str(moved)).code == 0


def _settings(unit: Path) -> str:
    return "\n".join(line for line in unit.read_text().splitlines() if not line.startswith("#"))


def test_the_machines_unit_is_roots_to_write(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = _install(tmp_path)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "sudo" in refused.err
    assert "--user" in refused.err
    assert not machine.exists()
    assert _install(tmp_path, "--print").code == 0, "looking is everybody's"


def test_the_machines_unit_comes_with_what_is_to_be_done(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "user_exists", lambda name: False)
    ran = _install(tmp_path, "--swarm-key-file", "/etc/demesh/swarm.key")
    text = (machine / NAME).read_text()
    assert is_untouched(text)
    assert "User=demesh\n" in text
    assert "LoadCredential=swarm.key:/etc/demesh/swarm.key\n" in text
    assert "useradd --system" in ran.out
    assert "systemctl daemon-reload\n  systemctl enable --now demesh\n" in ran.out


def test_a_data_directory_elsewhere_is_its_owners(tmp_path: Path, machine: Path) -> None:
    home = tmp_path / "mesh"
    home.mkdir()
    if os.getuid() == 0:
        refused = _install(tmp_path, "--data-dir", str(home))
        assert refused.code == 2
        assert "should not run as root" in refused.err
        os.chown(home, pwd.getpwnam("daemon").pw_uid, -1)
    assert _install(tmp_path, "--data-dir", str(home)).code == 0
    text = (machine / NAME).read_text()
    assert f"User={home.owner()}\n" in text
    assert f"ReadWritePaths={home}\n" in text
    missing = _install(tmp_path, "--data-dir", str(tmp_path / "missing"))
    assert missing.code == 2
    assert "`demesh init`" in missing.err


@pytest.fixture
def ann(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node that a user named ann began with, on a machine that has none of its own."""
    monkeypatch.setattr("demesh.systemd.unit._STATE", tmp_path)
    monkeypatch.setattr(sys.modules["demesh.cli.install_unit"], "SYSTEMS", tmp_path / "var lib")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: _ann(tmp_path / "ann", name))
    home = tmp_path / "ann/.local/share/demesh"
    home.mkdir(parents=True)
    (home / "node.key").touch()
    return home


def _ann(home: Path, name: str) -> pwd.struct_passwd:
    if name != "ann":
        raise KeyError(name)
    return pwd.struct_passwd(("ann", "x", 1000, 1000, "", str(home), "/bin/sh"))


def test_the_machines_unit_begins_no_new_node_beside_the_one_that_was_meant(
    tmp_path: Path, machine: Path, ann: Path
) -> None:
    systems = tmp_path / "var lib"
    refused = _install(tmp_path, SUDO_USER="ann")
    assert refused.code == 2
    assert refused.err.startswith(f"ann has a node in {ann}, and {systems} holds none")
    assert f"\n  demesh install-unit --data-dir {ann} " in refused.err
    assert "as ann: demesh install-unit --user\n" in refused.err
    assert f"\n  useradd --system --user-group --home-dir '{systems}' --shell" in refused.err
    assert f"\n  mv -T {ann} '{systems}'\n  chown -R demesh:demesh '{systems}'\n" in refused.err
    assert f"\n  demesh install-unit --data-dir '{systems}'\n" in refused.err
    assert not machine.exists()
    printed = _install(tmp_path, "--print", SUDO_USER="ann")
    assert (printed.code, printed.err) == (0, refused.err), "looking is everybody's"
    assert _install(tmp_path, "--data-dir", str(systems), SUDO_USER="ann").code == 0
    assert _install(tmp_path, SUDO_USER="ann").code == 0, "it was said once"


def test_what_was_meant_is_also_the_node_of_who_runs_this_and_never_roots_as_it_is(tmp_path: Path, ann: Path) -> None:
    refused = _install(tmp_path, HOME=str(tmp_path / "ann"))
    assert refused.code == 2
    assert f"mv -T {ann} " in refused.err
    if os.getuid() == 0:
        assert refused.err.startswith("root has a node in ")
        assert f"--data-dir {ann}" not in refused.err, "no node should run as root"


@pytest.mark.parametrize("why", ["none is there", "the machine has one", "it was named"])
def test_the_machines_unit_is_written_where_nothing_else_can_be_meant(
    why: str, tmp_path: Path, machine: Path, ann: Path
) -> None:
    systems, arguments = tmp_path / "var lib", list[str]()
    if why == "none is there":
        (ann / "node.key").unlink()
    elif why == "the machine has one":
        systems.mkdir()
        (systems / "node.key").touch()
    else:
        arguments = ["--data-dir", str(systems)]
    assert _install(tmp_path, *arguments, SUDO_USER="ann").code == 0
    assert (machine / NAME).exists()


def test_a_unit_whose_python_was_made_from_one_in_a_home_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("executable", "prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/opt/python/bin/python")
    monkeypatch.setattr("demesh.__file__", "/opt/demesh/demesh/__init__.py")
    assert "ProtectHome=yes\n" in _install(tmp_path, "--print").out
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv/versions/3.12.1")
    assert "ProtectHome=read-only\n" in _install(tmp_path, "--print").out


def test_what_is_next_can_be_typed_in_as_it_stands(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "user_exists", lambda name: False)
    ran = _install(tmp_path, "--data-dir", "/var/lib/my mesh")
    assert "--home-dir '/var/lib/my mesh' --shell" in ran.out
    assert "demesh join --data-dir '/var/lib/my mesh', with" in ran.out


def test_a_home_that_root_made_is_to_be_given_to_the_nodes_user(tmp_path: Path, ann: Path) -> None:
    home = tmp_path / "var lib"
    home.mkdir()
    (home / "node.key").touch()
    assert f"\n  chown -R demesh:demesh '{home}'\n  systemctl daemon-reload\n" in _install(tmp_path).out


@pytest.mark.parametrize("part", ["executable", "what the executable leads to", "demesh", "prefix", "base_prefix"])
def test_a_demesh_that_the_nodes_user_cannot_reach_is_refused(
    part: str, tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with TemporaryDirectory() as place:  # the way to pytest's own is closed to others
        open_, closed = Path(place, "open"), Path(place, "closed")
        for each in (open_, closed):
            (each / "bin").mkdir(parents=True)
            (each / "bin/python").touch()
            (each / "demesh").mkdir()
        Path(place).chmod(0o755)
        closed.chmod(0o700)
        for name in ("prefix", "base_prefix"):
            monkeypatch.setattr(sys, name, str((closed if part == name else open_) / "bin"))
        monkeypatch.setattr(sys, "executable", str((closed if part == "executable" else open_) / "bin/python"))
        if part == "what the executable leads to":
            (open_ / "bin/python").unlink()
            (open_ / "bin/python").symlink_to(closed / "bin/python")
        monkeypatch.setattr("demesh.__file__", str((closed if part == "demesh" else open_) / "demesh/__init__.py"))
        monkeypatch.setattr(installing, "SYSTEM_UNITS", machine)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        refused = _install(tmp_path)
        assert refused.code == 2
        assert f"for {closed} is closed to others" in refused.err
        assert "--user" in refused.err
        assert not machine.exists()
        closed.chmod(0o755)
        assert machine_module.unreachable("demesh") is None


@pytest.mark.parametrize(
    ("range_", "needed"),
    [("1\t0\n", True), ("0\t2147483647\n", False), ("0\t0\n", True), ("1000\t2000\n", True), (None, True)],
)
def test_whether_ping_needs_a_right_is_read_from_the_kernel(
    range_: str | None, needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ping_group_range"
    if range_ is not None:
        path.write_text(range_)
    monkeypatch.setattr(machine_module, "_PING_RANGE", path)
    assert machine_module.needs_raw_ping("a-user-to-come") is needed


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("systemd 252 (252.39-1)", "Type=notify\n"),
        ("systemd 253 (253)", "Type=notify-reload\n"),
        (None, "Type=notify\n"),
    ],
)
def test_the_type_is_one_that_this_systemd_knows(
    said: str | None, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if said:
        (programs / "systemctl").write_text(f"#!/bin/sh\necho '{said}'\n")
        (programs / "systemctl").chmod(0o755)
    assert kind in _install(tmp_path, "--print", "--user", PATH=str(programs)).out
