"""What restarts a node is told the truth about it, in time."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from demesh import limits
from demesh.healthy import why_not
from demesh.home import Home, HomeLock, Running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


@contextmanager
def _node(home: Home, answer: bytes | None) -> Generator[None]:
    """Holds `home`, takes one request and gives `answer`; None: says nothing at all."""
    path = home.path / "sock"
    asked = threading.Event()
    with socket.socket(socket.AF_UNIX) as server, HomeLock(home) as lock:
        server.bind(str(path))
        server.listen()
        lock.announce(Running(4711, str(path), None))

        def serve() -> None:
            client, _ = server.accept()
            with client:
                assert client.recv(4_096).startswith(b"GET /healthz ")
                if answer is not None:
                    client.sendall(answer)
                else:
                    asked.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        asked.set()
        thread.join()


def test_a_node_that_answers_is_sane(home: Home) -> None:
    with _node(home, b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"):
        assert why_not(home) == ""


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 \r\n\r\n", b"HTTP/1.1 503 \r\n\r\n[]", b"", b"SSH-2.0-x\r\n"])
def test_a_node_that_says_otherwise_is_not(home: Home, answer: bytes) -> None:
    with _node(home, answer):
        assert why_not(home) == "The node (pid 4711) is not well."


def test_what_a_node_says_is_wrong_with_it_is_told(home: Home) -> None:
    with _node(home, b'HTTP/1.1 503 \r\ncontent-length: 21\r\n\r\n{"error":"It hangs."}'):
        assert why_not(home) == "The node (pid 4711) is not well. It hangs."


def test_a_node_that_hangs_is_not_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEALTH_SECONDS_MAX", 0.1)
    with _node(home, None):
        assert "does not answer" in why_not(home)


def test_a_node_that_is_starting_is_sane(home: Home) -> None:
    """It may be waiting for a member that knows the mesh; to be found, it must count as there."""
    with HomeLock(home):
        assert why_not(home) == ""


def test_a_node_that_looks_through_its_store_is_sane_until_it_says_that_it_answers(home: Home) -> None:
    with HomeLock(home) as lock:
        running = Running(4711, str(home.path / "none"), None, starting=True)
        lock.announce(running)
        assert why_not(home) == ""
        lock.announce(replace(running, starting=False))
        assert "No such file" in why_not(home)


def test_a_node_whose_socket_is_gone_is_not(home: Home) -> None:
    with HomeLock(home) as lock:
        lock.announce(Running(4711, str(home.path / "none"), None))
        assert "No such file" in why_not(home)


def test_where_no_node_runs_nothing_is_sane(home: Home) -> None:
    assert why_not(home) == f"No node is running on {home.path}."
    with HomeLock(home) as lock:
        lock.announce(Running(4711, "/nonexistent", None))
    assert why_not(home) == f"No node is running on {home.path}."


def test_as_a_program_it_says_so_by_its_exit_code_and_loads_little(home: Home) -> None:
    environment = {**os.environ, "DEMESH_HOME": str(home.path)}
    command = [sys.executable, "-X", "importtime", "-m", "demesh.healthy"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert ran.returncode == 1
    assert ran.stderr.endswith(f"No node is running on {home.path}.\n")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert loaded.isdisjoint({"trio", "libp2p", "click", "pydantic", "fastapi", "apsw", "nacl", "http"})
    with HomeLock(home):
        assert subprocess.run(command[:1] + command[3:], env=environment, check=False, timeout=20).returncode == 0
