"""Keys: their files, what they reveal, and what they are to libp2p."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import DemeshError, UsageError
from demesh.identity import (
    SwarmKey,
    new_swarm_key,
    peer_id,
    public_key_of,
    read_or_make_node_key,
    read_swarm_key,
    replace_secret,
    write_secret,
)

_HEADER = "/key/swarm/psk/1.0.0/\n/base16/\n"
_SECRET = "5e5a3e" * 10 + "0123"
_OF_ZERO = ("cca88876d346c5ff", "3f3a8d9923f71612967f9ce21d95a467")
_KEY = SwarmKey(bytes.fromhex(_SECRET))


def _file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "key"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        f"{_HEADER}{_SECRET}\n",
        f"{_HEADER}{_SECRET}",
        f"{_HEADER}{_SECRET.upper()}\n",
        f"{_HEADER}{_SECRET}\n\n".replace("\n", "\r\n"),
    ],
    ids=["as written", "without the last line's end", "upper case", "from Windows"],
)
def test_a_swarm_key_of_the_ipfs_form_is_read(content: str, tmp_path: Path) -> None:
    assert read_swarm_key(_file(tmp_path, content)) == _KEY


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "it must hold three lines"),
        (_SECRET, "it must hold three lines"),
        (f"/key/swarm/psk/2.0.0/\n/base16/\n{_SECRET}", "it must hold three lines"),
        (f"/key/swarm/psk/1.0.0/\n/base64/\n{_SECRET}", "it must hold three lines"),
        (f"{_HEADER}{_SECRET}\n{_SECRET}", "it must hold three lines"),
        (f"{_HEADER}{_SECRET[:-2]}", "64 hex digits"),
        (f"{_HEADER}{_SECRET}00", "64 hex digits"),
        (f"{_HEADER}{_SECRET[:-1]}g", "64 hex digits"),
        (f"{_HEADER}{_SECRET}é", "it is not plain hexadecimal text"),
    ],
)
def test_anything_else_is_refused_without_repeating_it(content: str, sentence: str, tmp_path: Path) -> None:
    path = _file(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_swarm_key(path)
    said = str(caught.value)
    assert sentence in said
    assert str(path) in said
    assert "5e5a3e" not in said


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_swarm_key_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read the swarm key"):
        read_swarm_key(tmp_path / name)


@given(st.binary(min_size=32, max_size=32))
def test_a_swarm_key_is_in_its_file_and_nowhere_else(psk: bytes) -> None:
    key = SwarmKey(psk)
    assert key.text() == f"{_HEADER}{psk.hex()}\n"
    for shown in (repr(key), str(key), f"{[key]}", key.fingerprint, key.first_mesh_id().hex()):
        assert psk.hex() not in shown
        assert repr(psk) not in shown


def test_new_swarm_keys_differ_in_all_that_tells_them_apart() -> None:
    one, other = new_swarm_key(), new_swarm_key()
    assert one.psk != other.psk
    assert one.fingerprint != other.fingerprint
    assert one.first_mesh_id() != other.first_mesh_id()
    assert len(one.first_mesh_id()) == 16


def test_a_fingerprint_and_a_mesh_id_never_change() -> None:
    assert _KEY.fingerprint == SwarmKey(_KEY.psk).fingerprint
    zero = SwarmKey(bytes(32))
    assert (zero.fingerprint, zero.first_mesh_id().hex()) == _OF_ZERO


def test_a_node_key_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "home/node.key"
    key = read_or_make_node_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_node_key(path) == key
    assert bytes.fromhex(path.read_text()) == bytes(key)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "must hold 64 hex digits"),
        ("5e5a3e", "must hold 64 hex digits"),
        (f"{_SECRET}00", "must hold 64 hex digits"),
        (f"{_SECRET[:-1]}g", "it is not plain hexadecimal text"),
        (b"\xff" * 32, "it is not plain hexadecimal text"),
    ],
)
def test_a_broken_node_key_is_refused_and_kept(content: str | bytes, sentence: str, tmp_path: Path) -> None:
    path = _file(tmp_path, content)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        read_or_make_node_key(path)
    assert sentence in str(caught.value)
    assert "5e5a3e" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_secret_is_written_for_its_user_alone_whatever_the_umask_and_never_twice(tmp_path: Path) -> None:
    path = tmp_path / "a/b/secret"
    before = os.umask(0)
    try:
        write_secret(path, "first\n")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_secret(path, "second\n")
    assert path.read_text() == "first\n"


def test_a_link_in_the_place_of_a_secret_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_secret(link, "secret\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_secret_never_takes_the_place_of_one_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, "theirs")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_secret(path, "ours\n")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_secret_is_written_where_there_are_no_hard_links(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "key"
    write_secret(path, "first\n")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_secret(path, "second\n")
    assert path.read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("write", "before"), [(write_secret, None), (replace_secret, "old"), (replace_secret, None)])
def test_a_full_disk_is_said_leaves_nothing_and_may_pass(
    write: Callable[[Path, str], None], before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if before:
        path.write_text(before)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DemeshError, match=f"{path}: No space left on device") as refused:
            write(path, "new")
    assert refused.value.exit_code == 1, "after 2 nobody starts a node again"
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == ({"secret": before} if before else {})
    write(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_secret, replace_secret])
def test_what_does_not_pass_by_itself_is_a_mistake(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot make the directory"):
        write(_file(tmp_path, "no directory") / "secret", "text")


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_kill_while_a_key_is_made_leaves_none_and_the_next_start_makes_it(call: str, tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    program = (
        "import os, sys; from pathlib import Path; from demesh.identity import read_or_make_node_key\n"
        f"os.{call} = lambda *_: os.kill(os.getpid(), 9)\n"
        "read_or_make_node_key(Path(sys.argv[1]))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert ran.returncode == -9
    assert not path.exists()
    assert read_or_make_node_key(path) == read_or_make_node_key(path)


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_holds_the_whole_key(public_key: bytes) -> None:
    text = peer_id(public_key)
    assert text.startswith("12D3KooW")
    assert public_key_of(text) == public_key


@pytest.mark.parametrize(
    "text", ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "0OIl", "é", "1" * 52]
)
def test_what_is_no_peer_id_of_ours_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the peer id of an Ed25519 key"):
        public_key_of(text)


@pytest.mark.slow
def test_a_peer_id_is_libp2ps_for_the_same_key(tmp_path: Path) -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    for _ in range(20):
        (tmp_path / "node.key").unlink(missing_ok=True)
        key = read_or_make_node_key(tmp_path / "node.key")
        theirs = create_new_key_pair(bytes(key)).public_key
        assert peer_id(bytes(key.verify_key)) == str(ID.from_pubkey(theirs))
