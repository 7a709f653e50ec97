"""What signals do to a real node: it ends in good time whatever hangs, and a reload is no end."""

import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


def test_a_busy_swarm_port_is_named_with_its_remedy(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "nas") as node, NodeProcess(tmp_path / "second", "second") as second:
        node.start()
        node.wait_ready()
        second.swarm = node.swarm
        second.start()
        assert second.wait(20) != 0
        assert f"{node.swarm} is taken by another process" in second.output()
        assert "--listen" in second.output()
        assert "Traceback" not in second.output()
