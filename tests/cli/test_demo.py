"""What the demo suggests exists; where nobody waits it ends after the story, and nothing is left."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from demesh.cli import root
from demesh.cli.demo_commands import suggestions
from demesh.cli.demo_terminal import Ended, Ending
from demesh.demo.nodes import DemoNode
from tests.cli.harness import demesh

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_it_suggests_only_commands_that_can_be_run_as_they_stand() -> None:
    commands = [command for command, _ in suggestions(root, "demesh", Path("/d"))]
    assert "demesh status --data-dir /d/fra" in commands
    assert "demesh check run shop --data-dir /d/lab" in commands

    @click.group()
    def other() -> None: ...

    other.add_command(click.Group("alerts"))
    other.add_command(click.Group("members", invoke_without_command=True))
    other.add_command(click.Command("explain"))
    commands = [command for command, _ in suggestions(other, "x/demesh", Path("/a b"))]
    assert commands == ["x/demesh members --data-dir '/a b/nyc'", "x/demesh explain shop --data-dir '/a b/fra'"]


def test_without_a_terminal_it_ends_after_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demesh.cli.demo_show.ACTS", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    ran = demesh(tmp_path / "home", "demo")
    assert ran.code == 0
    assert "That was all" in ran.out
    assert "Now you" not in ran.out
    assert list((tmp_path / "t").iterdir()) == []
    assert not (tmp_path / "home").exists()


def test_a_directory_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.key").touch()
    ran = demesh(tmp_path / "home", "demo", "--dir", str(tmp_path))
    assert ran.code == 2
    assert ran.err.startswith(f"{tmp_path} is not empty")


@pytest.mark.parametrize("sent", _SIGNALS)
def test_a_signal_ends_the_rest_that_goes_on_and_every_one_after_it(sent: signal.Signals) -> None:
    ending = Ending()
    assert ending.rest(0) is None
    os.kill(os.getpid(), sent)
    for _ in range(2):
        with pytest.raises(Ended):
            ending.rest(60)


def test_lines_come_one_by_one_until_whoever_types_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr("demesh.cli.demo_terminal._STDIN", read)
    ending = Ending()
    os.write(write, b" 1 \n\n2")
    assert [ending.rest(60, or_line=True) for _ in range(2)] == ["1", ""]
    assert ending.rest(0, or_line=True) is None
    os.close(write)
    with pytest.raises(Ended):
        ending.rest(60, or_line=True)
    os.close(read)


def test_where_nobody_could_type_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr("demesh.cli.demo_terminal._STDIN", nothing)
    ending = Ending()
    for _ in range(2):
        assert ending.rest(0, or_line=True) is None
    os.close(nothing)


def test_who_asked_it_to_end_is_not_told_of_a_node_that_the_same_signal_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal to all reaches a node that is being started, too, before it has a session of its own."""
    start = DemoNode.start

    def start_under_fire(node: DemoNode) -> None:
        start(node)
        os.kill(node.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(DemoNode, "start", start_under_fire)
    monkeypatch.setattr(DemoNode, "gave_up", True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran = demesh(tmp_path / "home", "demo")
    assert ran.code == 0
    assert "Three nodes find each other" in ran.out
    assert "by itself" not in ran.out
    assert list(tmp_path.iterdir()) == []
