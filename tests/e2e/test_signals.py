"""What signals do to a real node: it ends in good time whatever hangs, and a reload is no end."""

import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demesh import limits
from demesh.log.bye import LEFT, read_bye
from demesh.log.entry import Entry, Kind
from demesh.log.store import Store
from tests.e2e.harness import NodeProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_END_SECONDS = 9  # less than API_SEND_SECONDS_MAX


@contextmanager
def _silent_server() -> Generator[str]:
    """Takes connections and never says anything."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _own_entries(node: NodeProcess) -> list[Entry]:
    with Store(node.home / "log.db", readonly=True) as store:
        own = store.own_log()
        assert own is not None
        return store.read(own[0], 0, own[1].seq)[0]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_node_ends_with_its_leave_taking_whatever_hangs(sent: signal.Signals, tmp_path: Path) -> None:
    config = (
        '[node]\nflush_interval = "300s"\n[alerts]\nalertmanager = "{url}"\n[defaults]\nfail_after = 1\n'
        '[[check]]\nname = "hung"\ntarget = "{url}"\ninterval = "1s"\ntimeout = "300s"\n'
        '[[check]]\nname = "refused"\ntarget = "http://127.0.0.1:9"\ninterval = "1s"\n'
    )
    with _silent_server() as url, NodeProcess(tmp_path / "node", "nas", config.format(url=url)) as node:
        node.start()
        node.wait_ready()
        eventually(node.status, lambda said: bool(said["incidents"]), 20, "an alert that cannot be told")
        host, port = node.api.split(":")
        with socket.create_connection((host, int(port))) as slow, socket.create_connection((host, int(port))) as idle:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            # Never reads, and asks for more than buffers take: the last answers are stuck on their way.
            slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 900)
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: loc")
            before = len(_own_entries(node))
            stopping = time.monotonic()
            node.send(sent)
            assert node.wait(2 * _END_SECONDS) == 0, node.output()
            assert time.monotonic() - stopping < _END_SECONDS
        assert "Traceback" not in node.output()
        entries = _own_entries(node)
        assert entries[-1].kind == Kind.BYE
        assert len(entries) > before
        assert not list((node.home / "runtime").rglob("*.sock"))


def test_configuration_is_taken_up_when_it_changes_and_on_a_hang_up(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "nas") as node:
        node.start()
        node.wait_ready()
        config = node.home / "demesh.toml"
        good = config.read_text()
        config.write_text(f'{good}[[check]]\nname = "one"\ntarget = "tcp://127.0.0.1:1"\n')
        eventually(node.status, lambda said: [each["name"] for each in said["checks"]] == ["one"], 10, "the check")
        config.write_text(f"{good}[[check]]\nnam = 1\n")
        eventually(node.output, lambda said: "did you mean 'name'" in said, 10, "what is wrong")
        assert "the last good one stays in force" in node.output()
        assert [each["name"] for each in node.status()["checks"]] == ["one"]
        said = node.output().count("stays in force")
        node.send(signal.SIGHUP)
        eventually(node.output, lambda out: out.count("stays in force") > said, 10, "an answer to the signal")
        config.write_text(good)
        node.send(signal.SIGHUP)
        eventually(node.status, lambda said: said["checks"] == [], 10, "no check")
        assert node.stop() == 0


@pytest.mark.parametrize("leaves", [False, True])
def test_a_farewell_is_not_cut_off_by_what_ends_a_node_twice_at_once_or_after_it_left(
    leaves: bool, tmp_path: Path
) -> None:
    """As a supervisor in a terminal does that takes the Ctrl-C, and `systemctl disable --now` after `demesh node leave`."""
    began = tmp_path / "began"
    script = f"trap '' TERM; echo began > {began}; exec sleep 600"  # keeps the node waiting, until it is killed
    config = f'[[check]]\nname = "slow"\ncommand = ["sh", "-c", "{script}"]\ninterval = "1s"\ntimeout = "300s"\n'
    with NodeProcess(tmp_path / "node", "nas", config) as node:
        node.start()
        node.wait_ready()
        eventually(lambda: began.exists() and began.read_text(), bool, 20, "the command runs")
        if leaves:
            assert node.run_command("node", "leave").returncode == 0
        for sent in (signal.SIGTERM, signal.SIGINT):
            node.send(sent)
        assert node.wait(2 * _END_SECONDS) == 0, node.output()
        bye = _own_entries(node)[-1]
        assert (bye.kind, read_bye(bye.payload).reason) == (Kind.BYE, LEFT if leaves else "stopped")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_the_very_end_of_the_process_do_not_change_how_it_ends(sent: signal.Signals, tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "nas") as node:
        node.start()
        node.wait_ready()
        first = time.monotonic()
        while node.runs() and time.monotonic() < first + _END_SECONDS:
            node.send(sent)
            time.sleep(0.02)  # or it would be busy with signals alone
        took, code = time.monotonic() - first, node.wait(_END_SECONDS)
        asked_again = took >= limits.END_AGAIN_SECONDS_MIN  # of a busy machine, where it was still taking leave by then
        assert code == 0 or (asked_again and code == 130), node.output()
        assert code == 130 or _own_entries(node)[-1].kind == Kind.BYE


def test_a_node_whose_output_nobody_reads_any_more_runs_on_and_ends_well(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "nas") as node:
        node.inside = ("bash", "-c", 'exec "$@" > >(exec true)', "bash")
        node.start()
        node.wait_ready()
        assert node.stop() == 0
        assert "BrokenPipe" not in node.output()
        assert _own_entries(node)[-1].kind == Kind.BYE


@pytest.mark.parametrize("joins", [False, True])
def test_a_busy_swarm_port_is_named_with_its_remedy(joins: bool, tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "nas") as node:
        node.start()
        node.wait_ready()
        key = node.home / "swarm.key" if joins else None
        second = NodeProcess(tmp_path / "second", "second", swarm_key=key)
        second.swarm = node.swarm
        with second:
            second.start(*(("--peer", "127.0.0.1:9") if joins else ()))
            assert second.wait(20) == 1
        assert f"{node.swarm} is taken by another process" in second.output()
        assert "--listen" in second.output()
        assert "Traceback" not in second.output()
