"""`demesh init`, `swarm-key` and `node id`: keys are made once, are secret, and are never overwritten."""

import re
import tomllib
from pathlib import Path

import pytest

from demesh.config.load import read_settings
from tests.cli.harness import demesh


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def _contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def test_init_makes_a_home_that_only_its_user_can_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = demesh(home, "init", "--name", "nas")
    assert ran.code == 0
    assert sorted(_contents(home)) == ["demesh.toml", "mesh.id", "node.key", "swarm.key"]
    assert _mode(home) == 0o700
    assert {_mode(path) for path in home.iterdir()} == {0o600}
    assert read_settings(home / "demesh.toml").name == "nas"


def test_init_tells_who_it_made_and_no_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = demesh(home, "init").out
    assert demesh(home, "node", "id").out.strip() in said
    assert demesh(home, "swarm-key", "fingerprint").out.strip() in said
    for key in ("node.key", "swarm.key"):
        assert (home / key).read_text().split()[-1] not in said


def test_init_never_overwrites(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demesh(home, "init", "--name", "nas")
    before = _contents(home)
    ran = demesh(home, "init", "--name", "other")
    assert ran.code == 2
    assert "holds a node already" in ran.err
    assert _contents(home) == before


def test_init_completes_a_home_that_has_its_keys_and_keeps_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demesh(home, "init")
    before = _contents(home)
    (home / "demesh.toml").unlink()
    assert demesh(home, "init").code == 0
    assert _contents(home) == before


def test_init_makes_the_keys_beside_a_configuration_and_keeps_that(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "demesh.toml").write_text("# mine\n")
    refused = demesh(home, "init", "--name", "nas")
    assert refused.code == 2
    assert "leave out --name" in refused.err
    assert demesh(home, "init").code == 0
    assert sorted(_contents(home)) == ["demesh.toml", "mesh.id", "node.key", "swarm.key"]
    assert _contents(home)["demesh.toml"] == b"# mine\n"


def test_init_joins_the_mesh_of_a_swarm_key(tmp_path: Path) -> None:
    demesh(tmp_path / "a", "init")
    ran = demesh(tmp_path / "b", "init", "--swarm-key-file", str(tmp_path / "a/swarm.key"))
    assert ran.code == 0
    assert (tmp_path / "b/swarm.key").read_bytes() == (tmp_path / "a/swarm.key").read_bytes()
    assert (tmp_path / "b/node.key").read_bytes() != (tmp_path / "a/node.key").read_bytes()


def test_init_with_another_swarm_key_keeps_the_one_that_is_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        demesh(tmp_path / name, "init")
    (tmp_path / "b/demesh.toml").unlink()
    before = _contents(tmp_path / "b")
    ran = demesh(tmp_path / "b", "init", "--swarm-key-file", str(tmp_path / "a/swarm.key"))
    assert ran.code == 2
    assert "is not overwritten" in ran.err
    assert _contents(tmp_path / "b") == before


@pytest.mark.parametrize("name", ['a"b', "a\nb", "{x}", "", "n" * 65, "[x]"])
def test_init_with_an_impossible_name_makes_nothing(name: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "init", f"--name={name}")
    if name:
        assert ran.code == 2
        assert "--name: a name has 1 to 64" in ran.err
        assert not (tmp_path / "home").exists()
    else:
        assert ran.code == 0, "nothing is no name"


def test_init_takes_every_name_that_a_node_may_have(tmp_path: Path) -> None:
    assert demesh(tmp_path / "home", "init", "--name", "büro").code == 0
    assert read_settings(tmp_path / "home/demesh.toml").name == "büro"


def test_the_examples_in_the_configuration_that_init_writes_are_valid(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demesh(home, "init")
    config = home / "demesh.toml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(re.sub(r"^# (?=\[\[|\w+ = )", "", line) for line in lines))
    assert tomllib.loads(config.read_text())["check"][0]["name"] == "blog"
    assert read_settings(config).alertmanagers == ("http://127.0.0.1:9093",)


def test_swarm_key_new_makes_one_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "keys/swarm.key"
    ran = demesh(tmp_path / "home", "swarm-key", "new", str(path))
    assert ran.code == 0
    assert _mode(path) == 0o600
    key = path.read_text()
    assert re.fullmatch(r"/key/swarm/psk/1\.0\.0/\n/base16/\n[0-9a-f]{64}\n", key)
    assert key.split()[-1] not in ran.out
    again = demesh(tmp_path / "home", "swarm-key", "new", str(path))
    assert again.code == 2
    assert f"{path} exists and is not overwritten." in again.err
    assert path.read_text() == key


def test_swarm_key_fingerprint_tells_keys_apart_and_reveals_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    told: list[str] = []
    for name in ("a", "b"):
        path = tmp_path / name
        demesh(home, "swarm-key", "new", str(path))
        fingerprint = demesh(home, "swarm-key", "fingerprint", str(path)).out
        assert re.fullmatch(r"[0-9a-f]{16}\n", fingerprint)
        assert fingerprint.strip() not in path.read_text()
        told.append(fingerprint)
    assert told[0] != told[1]


def test_swarm_key_uses_the_data_directory_by_default(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert demesh(home, "swarm-key", "new").code == 0
    assert demesh(home, "swarm-key", "fingerprint").code == 0
    missing = demesh(tmp_path / "other", "swarm-key", "fingerprint")
    assert missing.code == 2
    assert str(tmp_path / "other/swarm.key") in missing.err


def test_node_id_is_the_same_every_time(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demesh(home, "init")
    first = demesh(home, "node", "id")
    assert first.out.startswith("12D3KooW")
    assert demesh(home, "node", "id") == first
    assert demesh(tmp_path / "elsewhere", "node", "id", "--data-dir", str(home)) == first
