"""Whatever moment a node is killed at while the swarm key changes, what it finds afterwards lets it connect."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from demesh.errors import UsageError
from demesh.home import Home
from demesh.identity import SwarmKey, read_swarm_key, write_secret
from demesh.mesh.key_change import Change
from demesh.swarm_key_files import SwarmKeyFiles

_OLD, _NEW, _OTHER = SwarmKey(b"o" * 32), SwarmKey(b"n" * 32), SwarmKey(b"x" * 32)
_ME = b"m" * 32
_CHANGE = Change(_OLD.digest, _NEW, _ME, frozenset({_ME}))


class _Killed(BaseException):
    pass


@pytest.fixture
def files(tmp_path: Path) -> SwarmKeyFiles:
    write_secret(tmp_path / "swarm.key", _OLD.text())
    return SwarmKeyFiles(Home(tmp_path), None)


def _names(files: SwarmKeyFiles) -> set[str]:
    return {path.name for path in files.path.parent.iterdir()}


def test_without_a_change_there_is_one_key(files: SwarmKeyFiles) -> None:
    assert files.open().accepted == (_OLD,)


def test_during_a_change_both_are_accepted_and_the_new_one_is_tried_first(files: SwarmKeyFiles) -> None:
    files.save(_CHANGE)
    keys = files.open()
    assert keys.accepted == (_NEW, _OLD)
    assert keys.newest == _NEW
    assert files.change.stat().st_mode & 0o777 == 0o600


def test_after_it_only_the_new_key_is_left(files: SwarmKeyFiles) -> None:
    files.save(_CHANGE)
    assert files.finish(_CHANGE).accepted == (_NEW,)
    assert _OLD.psk.hex() not in "".join(path.read_text() for path in files.path.parent.iterdir())
    assert files.path.stat().st_mode & 0o777 == 0o600
    keys = files.open()
    assert (keys.accepted, keys.settled) == ((_NEW,), True)


@pytest.mark.parametrize("step", range(22))
def test_killed_at_any_step_of_a_change_a_node_finds_a_key_of_its_mesh(
    files: SwarmKeyFiles, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = step

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            if left == 0:
                raise _Killed
            left -= 1
            return real(*arguments, **named)

        return call

    done = False
    with monkeypatch.context() as context:
        for owner, name in ((os, "open"), (os, "fsync"), (Path, "replace"), (Path, "unlink")):
            context.setattr(owner, name, counting(getattr(owner, name)))
        try:
            files.save(_CHANGE)
            files.finish(_CHANGE)
            done = True
        except _Killed:
            pass
    accepted = files.open().accepted
    assert accepted in ((_OLD,), (_NEW, _OLD), (_NEW,))
    assert files.open().accepted == accepted
    assert accepted == (_NEW,) if done else step < 21, "so many steps are all of them"


def test_a_key_put_there_by_hand_counts(files: SwarmKeyFiles) -> None:
    files.save(_CHANGE)
    files.put(_OTHER)
    files.save(_CHANGE)
    assert files.read().accepted == (_OTHER,)
    assert files.open().accepted == (_OTHER,)
    assert _names(files) == {"swarm.key"}


def test_a_file_elsewhere_is_not_written_and_the_new_key_wins_until_it_is_there(tmp_path: Path) -> None:
    elsewhere = tmp_path / "secrets" / "swarm.key"
    write_secret(elsewhere, _OLD.text())
    files = SwarmKeyFiles(Home(tmp_path), elsewhere)
    assert files.elsewhere
    files.save(_CHANGE)
    assert files.open().accepted == (_NEW, _OLD)
    assert files.finish(_CHANGE).overruled
    keys = files.open()
    assert (keys.accepted, keys.overruled) == ((_NEW,), True)
    assert read_swarm_key(elsewhere) == _OLD
    elsewhere.write_text(_NEW.text())
    keys = files.open()
    assert (keys.accepted, keys.overruled, keys.settled) == ((_NEW,), False, True)


def test_a_file_that_is_named_but_is_the_homes_own_is_the_homes_own(files: SwarmKeyFiles) -> None:
    assert not SwarmKeyFiles(Home(files.path.parent), files.path).elsewhere


@pytest.mark.parametrize("content", ["", "zz", "00", replace(_CHANGE, finished=True).key.text()])
def test_a_damaged_next_key_is_named_with_its_remedy(files: SwarmKeyFiles, content: str) -> None:
    files.change.write_text(content)
    with pytest.raises(UsageError, match="Move it away") as caught:
        files.open()
    assert str(files.change) in str(caught.value)
    assert _NEW.psk.hex() not in str(caught.value)
