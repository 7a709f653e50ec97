"""`demesh servers import`: what was accepted, merged and rejected is told by file and line; no login gets out."""

import json
import stat
from pathlib import Path

import pytest

from tests.cli.harness import demesh

_STUN = "0,3478,stun.example.net\n0,3478,STUN.example.net\n0,3478,bad.example.net\u200b\n8.8.8.8,3478\n"
_TURN = "0,3478,turn.example.net,mallory,sesame\n8.8.8.8,3478,0,mallory,sesame\n0,3478,turn.example.org,sesame\n"


def _file(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def test_the_list_is_written_in_our_form_and_every_other_row_is_told_of(tmp_path: Path) -> None:
    name = _file(tmp_path, "stun_v4.csv", _STUN)
    ran = demesh(tmp_path / "home", "servers", "import", name)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "type,host,port,transport,family,user,password_file,note",
        "stun,stun.example.net,3478,udp,4,,,",
        "stun,8.8.8.8,3478,udp,4,,,",
    ]
    assert f"{name}:2: merged: the same server as {name}:1." in ran.err
    assert f"{name}:3: rejected: the host has a character that cannot be seen (U+200B)." in ran.err
    assert f"{name}: 2 accepted, 1 merged, 1 rejected." in ran.err


def test_what_was_written_is_read_again_and_merged_with_other_files(tmp_path: Path) -> None:
    name, out = _file(tmp_path, "stun_v4.csv", _STUN), tmp_path / "stun.csv"
    assert demesh(tmp_path / "home", "servers", "import", name, "-o", str(out)).out == ""
    report = json.loads(demesh(tmp_path / "home", "servers", "import", str(out), name, "--json").out)
    first, second = report["files"]
    assert (first["accepted"], first["merged"], first["rejected"]) == (2, [], [])
    assert second["accepted"] == 0
    assert second["merged"][0] == {"line": 1, "same_as": f"{out}:2"}
    assert [each["check"] for each in report["servers"]] == [
        "stun stun.example.net:3478 udp v4",
        "stun 8.8.8.8:3478 udp v4",
    ]


def test_logins_are_dropped_and_that_is_said(tmp_path: Path) -> None:
    name, out = _file(tmp_path, "turn_v4.csv", _TURN), tmp_path / "turn.csv"
    for arguments in ((), ("--json",), ("-o", str(out))):
        ran = demesh(tmp_path / "home", "servers", "import", name, *arguments)
        assert ran.code == 0
        for text in (ran.out, ran.err, out.read_text() if out.exists() else ""):
            assert "sesame" not in text
            assert "mallory" not in text
    assert "The logins of 2 rows were dropped" in ran.err
    assert f"{name}:3: rejected: there is a user and no password; are the columns shifted?" in ran.err


def test_files_that_a_list_names_are_named_no_more_unless_asked_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "http,a.example.net,,,,me,/etc/passwd,\nturn,b.example.net,,,,,../two,\nntp,c.example.net,,,,,,\n"
    header = "type,host,port,transport,family,user,password_file,note\n"
    name = _file(tmp_path, "stranger.csv", header + rows)
    ran = demesh(tmp_path / "home", "servers", "import", name)
    assert ran.out.splitlines()[1:] == [
        "http,a.example.net,80,tcp,,,,",
        "turn,b.example.net,3478,udp,,,,",
        "ntp,c.example.net,123,udp,,,,",
    ]
    assert "2 rows name files of their logins: user and password_file are dropped." in ran.err
    kept = demesh(tmp_path / "home", "servers", "import", name, "--keep-credentials", "kept")
    assert "http,a.example.net,80,tcp,,me,/etc/passwd," in kept.out
    assert "look whether each is meant" in kept.err


@pytest.mark.parametrize("directory", ["..", "/", "a/../../b"])
def test_logins_are_kept_only_where_a_list_may_name_them(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    name = _file(tmp_path, "turn_v4.csv", _TURN)
    ran = demesh(tmp_path / "home", "servers", "import", name, "--keep-credentials", directory)
    assert (ran.code, ran.out) == (2, "")
    assert "beneath this one" in ran.err


def test_logins_are_kept_in_private_files_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, kept = _file(tmp_path, "turn_v4.csv", _TURN), tmp_path / "kept"
    ran = demesh(tmp_path / "home", "servers", "import", name, "--keep-credentials", str(kept))
    assert "sesame" not in ran.out + ran.err
    assert "mallory" not in ran.out + ran.err
    files = sorted(kept.iterdir())
    assert len(files) == 2
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == "mallory\nsesame\n"
        assert f",kept/{file.name}," in ran.out, "relative, as a list may name it"


def test_the_exit_code_tells_nothing_accepted_from_not_readable(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert demesh(home, "servers", "import", _file(tmp_path, "ntp_v4.csv", "0,123,0\n")).code == 1
    gone = demesh(home, "servers", "import", str(tmp_path / "gone.csv"), _file(tmp_path, "x.csv", "0,1,a.example.net"))
    assert gone.code == 2
    assert "gone.csv cannot be read" in gone.err
    assert "x.csv: It does not begin with" in gone.err
    assert demesh(home, "servers", "import", str(tmp_path / "x.csv"), "--type", "ntp").out.endswith(
        "ntp,a.example.net,1,udp,,,,\n"
    )
