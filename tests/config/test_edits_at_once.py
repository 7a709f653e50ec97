"""Edits of one configuration at the same time: each comes to be, one after the other."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from demesh.config.edit import add_check, add_peers, remove_check, set_keys
from demesh.config.load import load
from tests.at_once import at_once

_TEXT = '[mesh]\npeers = []\n\n[[check]]\nname = "one"\ntarget = "tcp://one.example.net:1"\n'
_MORE = '[[check]]\nname = "more"\ntarget = "ping://192.0.2.1"\n'
_PEER = "nas.example.net:8471"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "demesh.toml"
    config.write_text(_TEXT)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks/more.toml").write_text(_MORE)
    return config


def _add(config: Path, name: str = "two") -> None:
    add_check(config, {"name": name, "target": f"tcp://{name}.example.net:1"})


def _checks(config: Path) -> dict[str, str]:
    """Name and interval of each."""
    loaded = load(config)
    assert not loaded.problems
    return {each.written["name"]: each.written.get("interval", "") for each, _ in loaded.checks}


_EDITS: dict[str, Callable[[Path], object]] = {
    "set": lambda config: set_keys(config, "one", {"interval": "90s"}),
    "remove": lambda config: remove_check(config, "one"),
    "peers": lambda config: add_peers(config, [_PEER]),
    "add": lambda config: _add(config, "three"),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("edit", _EDITS)
def test_no_edit_loses_another(edit: str, first: bool, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = [lambda: _EDITS[edit](config), lambda: _add(config)]
    at_once(monkeypatch, *(edits if first else reversed(edits)))
    made = _checks(config)
    assert made.pop("two") == ""
    assert (
        made
        == {
            "set": {"one": "90s", "more": ""},
            "remove": {"more": ""},
            "peers": {"one": "", "more": ""},
            "add": {"one": "", "three": "", "more": ""},
        }[edit]
    )
    assert (_PEER in config.read_text()) == (edit == "peers")


def test_a_name_is_not_taken_twice_by_two_files(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an edit is judged by is all of the configuration, whichever file it changes."""
    at_once(
        monkeypatch,
        lambda: set_keys(config, "more", {"name": "new"}),
        lambda: set_keys(config, "one", {"severity": "warning"}),
    )
    assert _checks(config) == {"one": "", "new": ""}
    with pytest.raises(Exception, match="names must differ"):
        at_once(monkeypatch, lambda: set_keys(config, "new", {"name": "two"}), lambda: _add(config))


def test_a_link_is_held_where_it_leads(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/demesh.toml"
    link.symlink_to(config)
    at_once(monkeypatch, lambda: _add(link), lambda: _add(config, "three"))
    assert _checks(config).keys() == {"one", "two", "three", "more"}
    assert link.is_symlink()


def test_a_file_of_checks_that_two_configurations_share_is_held_too(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other/demesh.toml"
    other.parent.mkdir()
    other.write_text("")
    (other.parent / "checks").symlink_to(config.parent / "checks")
    at_once(
        monkeypatch,
        lambda: set_keys(config, "more", {"interval": "90s"}),
        lambda: set_keys(other, "more", {"severity": "warning"}),
    )
    assert load(config).checks[-1][0].written == {
        "name": "more",
        "target": "ping://192.0.2.1",
        "interval": "90s",
        "severity": "warning",
    }


def test_of_many_none_is_lost(config: Path) -> None:
    names = [f"n{i}" for i in range(6)]
    begin = threading.Barrier(len(names))

    def add(name: str) -> None:
        begin.wait()
        _add(config, name)

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _checks(config).keys() == {"one", "more", *names}
