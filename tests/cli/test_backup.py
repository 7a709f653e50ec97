"""`demesh backup` and `demesh restore`: all that a node is, and nothing that a hostile archive wants."""

import errno
import fcntl
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from demesh import limits
from demesh.home import Home, HomeLock, MarkerFile, Running
from demesh.log.audit import audit
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.epoch import Continue, Decision, Marker, NewEpoch, decide_epoch
from demesh.log.store import Store
from tests.cli.harness import Ran, demesh
from tests.log.builders import BOOT8, MESH, NO_LOG, Pen, log_of, owners, put

_FILES = {
    "node.key": "11" * 32 + "\n",
    "swarm.key": "/key/swarm/psk/1.0.0/\n/base16/\n" + "22" * 32 + "\n",
    "mesh.id": MESH.hex() + "\n",
    "demesh.toml": '[node]\nname = "nas"\n',
    "checks/web.toml": "# a check\n",
}
_ANN = log_of("ann", 20)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose node has written ten entries."""
    home = Home(tmp_path / "home")
    home.make()
    (home.path / "checks").mkdir()
    for name, content in _FILES.items():
        (home.path / name).write_text(content)
        (home.path / name).chmod(0o600)
    script = home.path / "checks" / "disk"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with Store(home.log_db, mesh_id=MESH) as store:
        put(store, _ANN[:10], own=True)
    return home


def _entries(home: Home) -> list[Entry]:
    with Store(home.log_db, readonly=True) as store:
        return store.read(_ANN[0].log, 0, 99)[0]


def test_a_backup_of_a_running_node_is_restored_as_it_was(home: Home, tmp_path: Path) -> None:
    lock = HomeLock(home)  # the node runs
    target = tmp_path / "b.tar"
    with Store(home.log_db, mesh_id=MESH) as store:
        store.commit(_ANN[10:15], public_keys=owners(_ANN), own=True)  # in the WAL only
        ran = demesh(home.path, "backup", str(target))
    lock.release()
    assert ran.code == 0
    assert ran.out.startswith(f"Wrote {target} (")
    assert "keep it as secret as they are" in ran.err
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [target, home.path], "nothing else is left lying about"
    there = Home(tmp_path / "there")
    ran = demesh(home.path, "restore", str(target), "--data-dir", str(there.path))
    assert ran.code == 0, ran.err
    assert ran.out.endswith("Its store holds 1 log with 15 entries.\n")
    assert _entries(there) == _ANN[:15]
    for name, content in _FILES.items():
        assert (there.path / name).read_text() == content
        assert (there.path / name).stat().st_mode & 0o777 == 0o600
    assert (there.path / "checks" / "disk").stat().st_mode & 0o777 == 0o700
    assert there.path.stat().st_mode & 0o777 == 0o700
    found = sorted(path.name for path in there.path.iterdir() if "-" not in path.name)
    assert found == ["checks", "demesh.toml", "lock", "log.db", "mesh.id", "node.key", "swarm.key"]
    assert demesh(there.path, "log", "verify").code == 0


def test_what_a_running_node_keeps_there_and_links_are_left_out(home: Home, tmp_path: Path) -> None:
    (home.path / "lock").write_text("{}")
    (home.path / "log.db.damaged-1").write_text("old")
    (home.path / "run.marker").write_text("{}")
    (home.path / "outside").symlink_to("/etc/passwd")
    ran = demesh(home.path, "backup", str(tmp_path / "b.tar"))
    assert f"Left out {home.path / 'outside'}: a link.\n" in ran.err
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert sorted(tar.getnames()) == sorted([*_FILES, "checks", "checks/disk", "log.db"])


def _epoch(home: Home, marker: MarkerFile) -> Decision:
    """What a start of the node on `home` decides."""
    with Store(home.log_db, mesh_id=MESH) as store:
        own = store.own_log()
        assert own
        in_its_place = store.settled_at() == store.place("machine")
        return decide_epoch(
            own, marker.read(), BOOT8, store.file_identity(), in_its_place, lambda seq: store.hash_at(own[0], seq)
        )


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_restore_never_forks(home: Home, tmp_path: Path, elsewhere: bool) -> None:
    marker = MarkerFile(tmp_path / "demesh", home)
    with Store(home.log_db, mesh_id=MESH) as store:
        store.settle(store.place("machine"))
        marker.write(Marker(BOOT8, store.file_identity(), _ANN[0].log, _ANN[9].head))
    assert isinstance(_epoch(home, marker), Continue), "the test is one of restoring"
    assert demesh(home.path, "backup", str(tmp_path / "b.tar")).code == 0
    with Store(home.log_db, mesh_id=MESH) as store:
        store.commit(_ANN[10:], public_keys=owners(_ANN), own=True)
        marker.write(Marker(BOOT8, store.file_identity(), _ANN[0].log, _ANN[19].head))
    witness = Logs(MESH, NO_LOG)
    assert len(witness.offer(_ANN).accepted) == 20

    there = Home(tmp_path / "there") if elsewhere else home
    if not elsewhere:
        home.path.rename(tmp_path / "broken")
    assert demesh(there.path, "restore", str(tmp_path / "b.tar")).code == 0
    decision = _epoch(there, MarkerFile(tmp_path / "demesh", there))
    assert decision == NewEpoch(decision.why, (_ANN[0].log, _ANN[9].head)) if isinstance(decision, NewEpoch) else False

    anew = Pen("ann", epoch=1).fill(5)
    with Store(there.log_db, mesh_id=MESH) as store:
        put(store, anew, own=True)
        assert [fault for state in store.logs() for fault in audit(MESH, state, store.each(state.log))] == []
        offered = [row for state in store.logs() for row in store.each(state.log) if isinstance(row, Entry)]
        taken = witness.offer(offered)
        assert (taken.refusals, taken.accepted, taken.repeated) == ([], anew, 10)
        # What was written after the backup comes back from who saw it.
        back = Logs(MESH, anew[0].log, store.logs()).offer(_ANN)
        assert (back.refusals, back.accepted) == ([], _ANN[10:])


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda home, target: target.write_text("x"), "exists and is not overwritten."),
        (lambda home, target: home.node_key.unlink(), "There is no node at"),
    ],
)
def test_a_backup_that_cannot_be_made_is_refused_in_a_sentence(
    home: Home, tmp_path: Path, prepare: Callable[[Home, Path], object], sentence: str
) -> None:
    prepare(home, tmp_path / "b.tar")
    before = sorted(tmp_path.iterdir())
    ran = demesh(home.path, "backup", str(tmp_path / "b.tar"))
    assert ran.code in (2, 3)
    assert sentence in ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_is_not_put_beside_what_it_is_of(home: Home) -> None:
    ran = demesh(home.path, "backup", str(home.path / "checks" / "b.tar"))
    assert ran.code == 2
    assert "is inside the data directory" in ran.err


def test_a_backup_with_nowhere_to_go_is_refused_in_a_sentence(home: Home, tmp_path: Path) -> None:
    ran = demesh(home.path, "backup", str(tmp_path / "nowhere" / "b.tar"))
    assert ran.code == 2
    assert ran.err == f"Cannot write {tmp_path / 'nowhere' / 'b.tar'}: No such file or directory.\n"


def test_nothing_is_restored_over_anything(home: Home, tmp_path: Path) -> None:
    demesh(home.path, "backup", str(tmp_path / "b.tar"))
    before = {path: path.stat().st_mtime_ns for path in home.path.rglob("*")}
    ran = demesh(home.path, "restore", str(tmp_path / "b.tar"))
    assert ran.code == 2
    assert "is not empty, and nothing in it is overwritten" in ran.err
    after = {path: path.stat().st_mtime_ns for path in home.path.rglob("*") if path != home.lock}
    assert after == before
    lock = HomeLock(home)
    lock.announce(Running(1, "/none", None))
    ran = demesh(home.path, "restore", str(tmp_path / "b.tar"))
    lock.release()
    assert ran.code == 2
    assert "Another node (pid 1) is running on" in ran.err


def _killed(home: Home, where: str, *arguments: str) -> None:
    """Run a command that is killed in the place of its first call of `where`."""
    program = (
        f"import os, pathlib, sys, tarfile; from demesh.cli import main; import demesh.backup\n"
        f"{where} = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        f"main()"
    )
    environment = {**os.environ, "DEMESH_HOME": str(home.path), "XDG_RUNTIME_DIR": str(home.path.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == -9, ran.stderr


@pytest.mark.parametrize("where", ["tarfile.TarFile.close", "demesh.backup.put_new"])
def test_a_backup_that_was_killed_is_not_in_the_way_of_the_next(where: str, home: Home, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    _killed(home, where, "backup", str(target))
    assert (tmp_path / "b.tar.part").exists(), "the test is one of what a kill leaves"
    assert not target.exists()
    ran = demesh(home.path, "backup", str(target))
    assert ran.code == 0, ran.err
    assert sorted(tmp_path.iterdir()) == [target, home.path]
    assert target.stat().st_mode & 0o777 == 0o600
    assert demesh(tmp_path / "there", "restore", str(target)).code == 0


def _meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Have that done while a backup copies the store."""
    copy = Store.copy_to

    def copy_to(self: Store, path: Path) -> None:
        monkeypatch.setattr(Store, "copy_to", copy)
        do()
        copy(self, path)

    monkeypatch.setattr(Store, "copy_to", copy_to)


def test_two_backups_to_one_name_at_once_are_one_and_a_sentence(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.tar"
    second: list[Ran] = []
    _meanwhile(monkeypatch, lambda: second.append(demesh(home.path, "backup", str(target))))
    first = demesh(home.path, "backup", str(target))
    assert first.code == 0, first.err
    assert [ran.code for ran in second] == [2]
    assert second[0].err.endswith(f"Another backup to {target} is being made. Wait for it, or name another file.\n")
    assert sorted(tmp_path.iterdir()) == [target, home.path]
    assert demesh(tmp_path / "there", "restore", str(target)).code == 0


def test_a_part_that_another_has_begun_anew_is_not_taken_for_stale(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, flock = tmp_path / "b.tar.part", fcntl.flock
    part.write_text("of a killed one")

    def late(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_EX | fcntl.LOCK_NB:
            monkeypatch.setattr(fcntl, "flock", flock)
            part.unlink()
            part.write_text("of another")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ran = demesh(home.path, "backup", str(tmp_path / "b.tar"))
    assert (ran.code, part.read_text()) == (2, "of another")
    assert "is being made" in ran.err
    assert not (tmp_path / "b.tar").exists()


def test_a_backup_never_takes_the_place_of_what_came_meanwhile(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.tar"
    _meanwhile(monkeypatch, lambda: target.write_text("theirs"))
    ran = demesh(home.path, "backup", str(target))
    assert (ran.code, ran.err.splitlines()[-1]) == (2, f"{target} exists and is not overwritten.")
    assert target.read_text() == "theirs"
    assert sorted(tmp_path.iterdir()) == [target, home.path]


def test_a_backup_is_made_where_there_are_no_hard_links(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert demesh(home.path, "backup", str(tmp_path / "b.tar")).code == 0
    assert sorted(tmp_path.iterdir()) == [tmp_path / "b.tar", home.path]
    assert demesh(tmp_path / "there", "restore", str(tmp_path / "b.tar")).code == 0


def test_what_is_no_part_of_a_backup_is_not_written_through_and_is_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    part = tmp_path / "b.tar.part"
    part.symlink_to(tmp_path / "victim")
    ran = demesh(home.path, "backup", str(tmp_path / "b.tar"))
    assert ran.code == 2
    assert f"{part} is in the way: " in ran.err
    assert (tmp_path / "victim").read_text() == "kept"


def test_a_restore_that_was_killed_is_not_in_the_way_of_the_next(home: Home, tmp_path: Path) -> None:
    assert demesh(home.path, "backup", str(tmp_path / "b.tar")).code == 0
    there = Home(tmp_path / "there")
    _killed(there, "demesh.backup._check", "restore", str(tmp_path / "b.tar"))
    assert (there.path / ".restoring/node.key").exists(), "the test is one of what a kill leaves"
    (there.path / ".restoring/of-another").write_text("x")
    ran = demesh(there.path, "restore", str(tmp_path / "b.tar"))
    assert ran.code == 0, ran.err
    found = sorted(path.name for path in there.path.iterdir() if "-" not in path.name)
    assert found == ["checks", "demesh.toml", "lock", "log.db", "mesh.id", "node.key", "swarm.key"]


def test_what_is_left_of_killed_commands_is_in_no_backup(home: Home, tmp_path: Path) -> None:
    (home.path / ".restoring").mkdir()
    (home.path / ".restoring/node.key").write_text("x")
    (home.path / ".node.key.1a2b3c4d.part").write_text("x")
    assert demesh(home.path, "backup", str(tmp_path / "b.tar")).code == 0
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert sorted(tar.getnames()) == sorted([*_FILES, "checks", "checks/disk", "log.db"])


def _member(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([_member("../node.key")], "'../node.key' leads out of the data directory"),
        ([_member("checks/../../x")], "'checks/../../x' leads out of the data directory"),
        ([_member("/etc/cron.d/x")], "'/etc/cron.d/x' leads out of the data directory"),
        ([_member("node.key", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "neither a plain file"),
        ([_member("node.key", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "neither a plain file"),
        ([_member("checks", b"", type=tarfile.SYMTYPE, linkname="/tmp"), _member("checks/x")], "neither a plain file"),
        ([_member("fifo", b"", type=tarfile.FIFOTYPE)], "neither a plain file"),
        ([_member("null", b"", type=tarfile.CHRTYPE)], "neither a plain file"),
        ([_member("node.key"), _member("node.key")], "File exists"),
        ([_member("notes.txt")], "there is no node.key in it"),
        ([_member("node.key"), _member("log.db", b"x" * 5_000)], "log.db is damaged: file is not a database"),
        ([_member(f"checks/{n}") for n in range(5)], "it holds more than 4 files"),
        ([_member("big", bytes(2_000))], "'big' has more than 1000 bytes"),
    ],
)
def test_hostile_or_foreign_archive_leaves_nothing_behind(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BACKUP_FILES_MAX", 4)
    monkeypatch.setattr(limits, "BACKUP_FILE_BYTES_MAX", 1_000)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    ran = demesh(tmp_path / "home", "restore", str(tmp_path / "b.tar"))
    assert ran.code == 2
    assert why in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "home"]


@pytest.mark.parametrize("cut", [0, 100, 3_000, 20_000])
def test_a_damaged_backup_is_refused_and_another_may_follow(home: Home, tmp_path: Path, cut: int) -> None:
    demesh(home.path, "backup", str(tmp_path / "b.tar"))
    (tmp_path / "cut.tar").write_bytes((tmp_path / "b.tar").read_bytes()[:cut])
    there = tmp_path / "there"
    ran = demesh(there, "restore", str(tmp_path / "cut.tar"))
    assert ran.code == 2
    assert "is no backup of demesh, or it is damaged" in ran.err
    assert demesh(there, "restore", str(tmp_path / "b.tar")).code == 0


def test_backup_of_another_meshs_store_is_refused(home: Home, tmp_path: Path) -> None:
    home.mesh_id.write_text("ff" * 16 + "\n")
    demesh(home.path, "backup", str(tmp_path / "b.tar"))
    ran = demesh(tmp_path / "there", "restore", str(tmp_path / "b.tar"))
    assert ran.code == 2
    assert "its log.db is of another mesh than its mesh.id" in ran.err


def test_a_swarm_key_elsewhere_is_in_the_backup_or_is_said_to_be_missing(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "credentials" / "swarm.key"
    elsewhere.parent.mkdir()
    home.swarm_key.rename(elsewhere)
    lacking = demesh(home.path, "backup", str(tmp_path / "a.tar"))
    assert lacking.code == 0
    assert "NOT the swarm key" in lacking.err
    assert "of the swarm in the clear" not in lacking.err
    restored = demesh(tmp_path / "a", "restore", str(tmp_path / "a.tar"))
    assert f"node run --data-dir {tmp_path / 'a'} --swarm-key-file FILE\n" in restored.out
    assert not (tmp_path / "a/swarm.key").exists()
    whole = demesh(home.path, "backup", str(tmp_path / "b.tar"), "--swarm-key-file", str(elsewhere))
    assert "of the swarm in the clear" in whole.err
    assert "--swarm-key-file" not in demesh(tmp_path / "b", "restore", str(tmp_path / "b.tar")).out
    assert (tmp_path / "b/swarm.key").read_text() == _FILES["swarm.key"]
    assert (tmp_path / "b/swarm.key").stat().st_mode & 0o777 == 0o600


def test_a_swarm_key_that_the_running_node_names_goes_before_one_in_the_home(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "swarm.key"
    elsewhere.write_text(_FILES["swarm.key"].replace("2", "3", 64))
    with HomeLock(home) as lock:
        lock.announce(Running(1, "/none", None, str(elsewhere)))
        assert demesh(home.path, "backup", str(tmp_path / "b.tar")).code == 0
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames().count("swarm.key") == 1
        held = tar.extractfile("swarm.key")
        assert held is not None
        assert held.read() == elsewhere.read_bytes()


def test_a_configuration_that_names_the_swarm_key_is_heeded_by_backup_and_restore(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "swarm.key"
    home.swarm_key.rename(elsewhere)
    home.config.write_text(f'[mesh]\nswarm_key_file = "{elsewhere}"\n')
    assert "of the swarm in the clear" in demesh(home.path, "backup", str(tmp_path / "b.tar")).err
    assert demesh(home.path, "swarm-key", "fingerprint").code == 0
    elsewhere.unlink()
    restored = demesh(tmp_path / "b", "restore", str(tmp_path / "b.tar"))
    assert f"The swarm key is not at {elsewhere}" in restored.out


@pytest.mark.parametrize("command", [["invite"], ["swarm-key", "fingerprint"]])
def test_no_swarm_key_and_no_node_to_ask_for_it_is_said_with_what_to_do(command: list[str], home: Home) -> None:
    home.swarm_key.unlink()
    ran = demesh(home.path, *command)
    assert ran.code == 2
    assert "start the node, which says where, or name that file: --swarm-key-file" in ran.err
