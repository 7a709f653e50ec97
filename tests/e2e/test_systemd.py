"""What a real node tells systemd: on a real socket, in the place of systemd's."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from demesh import limits
from demesh.errors import StoreError
from demesh.healthy import why_not
from demesh.home import Home
from demesh.log.entry import Entry, Kind
from demesh.log.store import Store
from tests.e2e.harness import NodeProcess
from tests.systemd.listening import Manager

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_START_SECONDS = 60
_RELOAD_SECONDS = 15
_WATCHDOG_SECONDS = 4
_CHECK = '[[check]]\nname = "refused"\ntarget = "tcp://127.0.0.1:9"\ninterval = "1s"\n'


class _Supervised(NodeProcess):
    """A node as systemd runs one; `stderr` is a path that its diagnostic log goes to."""

    def __init__(self, home: Path, manager: Manager, config: str = _CHECK, stderr: Path | None = None) -> None:
        super().__init__(home, "nas", config)
        elsewhere = f" 2>'{stderr}'" if stderr else ""
        self.inside = ("sh", "-c", f'WATCHDOG_PID=$$ exec "$@"{elsewhere}', "sh")
        self.environment |= {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": str(_WATCHDOG_SECONDS * 1_000_000),
            "PYTHONPATH": f"{home}:{Path(__file__).parents[2]}",
        }

    def own_entries(self) -> list[Entry]:
        """What is durable of its own log."""
        try:
            with Store(self.home / "log.db", readonly=True) as store:
                own = store.own_log()
                return store.read(own[0], 0, own[1].seq)[0] if own else []
        except StoreError:
            return []


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "notify")) as listening:
        yield listening


def _fed(manager: Manager, seconds: float) -> int:
    """How often the watchdog hears that all is well within that time."""
    return sum("WATCHDOG" in each for each in manager.listen(seconds))


def test_ready_reload_and_stop_are_told_when_they_are_so(manager: Manager, tmp_path: Path) -> None:
    with _Supervised(tmp_path / "node", manager) as node:
        for start in (1, 2):
            before = len(node.own_entries())
            node.start()
            ready = manager.until("READY", _START_SECONDS)
            assert len(node.own_entries()) > before, f"start {start}: nothing of it is durable yet"
            assert node.status()["node"] == "nas", "and it answers"
            assert ready["STATUS"].startswith("0/0 peers")
            asked_us = time.monotonic_ns() // 1_000
            node.send(signal.SIGHUP)
            assert int(manager.until("RELOADING", 10)["MONOTONIC_USEC"]) >= asked_us
            assert manager.until("READY", 10) == {"READY": "1"}
            (node.home / "demesh.toml").write_text("[[check]\n")
            manager.until("RELOADING", 10)
            manager.until("READY", 10)
            (node.home / "demesh.toml").write_text(_CHECK)
            manager.until("RELOADING", 10)
            manager.until("READY", 10)
            assert node.stop() == 0
            manager.until("STOPPING", 1)
            assert manager.listen(1) == []
            assert node.own_entries()[-1].kind == Kind.BYE
    said = [message["STATUS"] for _, message in manager.heard if "STATUS" in message]
    for step in ("opening the store", "reading 1 logs", "settling whether the own log goes on"):
        assert f"starting: {step}" in said
    assert all("EXTEND_TIMEOUT_USEC" in each for _, each in manager.heard if "starting" in each.get("STATUS", ""))


def test_a_configuration_that_cannot_be_read_to_its_end_keeps_nobody_from_stopping_the_node(
    manager: Manager, tmp_path: Path
) -> None:
    """As on a network file system whose server is gone."""
    with _Supervised(tmp_path / "node", manager) as node:
        node.start()
        manager.until("READY", _START_SECONDS)
        config = node.home / "demesh.toml"
        config.unlink()
        os.mkfifo(config)
        manager.until("RELOADING", 10)
        node.send(signal.SIGHUP)
        assert _fed(manager, 2 * _WATCHDOG_SECONDS)
        assert node.stop() == 0
        manager.until("STOPPING", 1)
        assert node.own_entries()[-1].kind == Kind.BYE


def test_a_node_that_waits_for_its_mesh_asks_for_time_and_is_not_ready(manager: Manager, tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    subprocess.run([sys.executable, "-m", "demesh", "swarm-key", "new", str(key)], check=True, capture_output=True)
    with _Supervised(tmp_path / "node", manager) as node:
        node.start("--peer", "127.0.0.1:9", "--swarm-key-file", str(key))
        heard = manager.listen(3 * limits.START_SIGN_SECONDS_MIN)
        waiting = [each for each in heard if "waiting for a peer" in each.get("STATUS", "")]
        assert len(waiting) >= 2
        assert all("EXTEND_TIMEOUT_USEC" in each for each in waiting)
        assert not any("READY" in each or "WATCHDOG" in each for each in heard)


def test_the_watchdog_is_fed_at_half_of_its_time_and_not_by_a_node_whose_event_loop_hangs(
    manager: Manager, tmp_path: Path
) -> None:
    """Whoever reads the diagnostic log stops reading, so a line of it blocks where it is written: in the event loop."""
    pipe = tmp_path / "stderr"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4_096)
    with _Supervised(tmp_path / "node", manager, stderr=pipe) as node:
        node.start("-vv")
        manager.until("READY", _START_SECONDS)
        heard = len(manager.heard)
        assert _fed(manager, 10) >= 4
        times = [at for at, message in manager.heard[heard:] if "WATCHDOG" in message]
        assert max(later - earlier for earlier, later in pairwise(times)) < _WATCHDOG_SECONDS

        for _ in range(200):  # a reload is a line or two
            node.send(signal.SIGHUP)
            try:
                manager.until("READY", _RELOAD_SECONDS)
            except AssertionError:
                break
        manager.waiting()
        assert _fed(manager, 3 * _WATCHDOG_SECONDS) == 0
        assert node.runs()

        deadline = time.monotonic() + 20
        while not any("WATCHDOG" in each for each in manager.listen(0.2)):
            assert time.monotonic() < deadline, "it is read again, and goes on"
            with suppress(BlockingIOError):  # all is read, and it has not gone on yet
                os.read(reader, 65_536)
    os.close(reader)


_ENDS_THE_SCHEDULER = '''
"""What a bug could do: the scheduler's task ends, and nothing says so."""
import sys, threading

def check(arguments, timeout_seconds):
    frame = sys._current_frames()[threading.main_thread().ident]
    while not hasattr(frame.f_locals.get("runner"), "tasks"):
        frame = frame.f_back
    trio_runner = frame.f_locals["runner"]
    for task in list(trio_runner.tasks):
        if task.name.endswith("Runner.run"):
            nursery = task.coro.cr_frame.f_locals["self"]._nursery
            trio_runner.entry_queue.run_sync_soon(nursery.cancel_scope.cancel)
'''


def test_a_node_that_answers_but_checks_nothing_is_well_for_neither_systemd_nor_docker(
    manager: Manager, tmp_path: Path
) -> None:
    config = _CHECK + '[[check]]\nname = "bug"\nentry = "bug:check"\ninterval = "1s"\n'
    (tmp_path / "node").mkdir()
    (tmp_path / "node/bug.py").write_text(_ENDS_THE_SCHEDULER)
    with _Supervised(tmp_path / "node", manager, config) as node:
        node.start()
        manager.until("READY", _START_SECONDS)
        assert why_not(Home(node.home)) == ""
        manager.listen((limits.RUNNER_TURN_MS_MAX + limits.PULSE_LATE_MS_MAX) / 1_000 + _WATCHDOG_SECONDS)
        assert _fed(manager, 3 * _WATCHDOG_SECONDS) == 0
        assert node.status()["node"] == "nas", "the event loop turns, and so does all else"
        assert why_not(Home(node.home)).endswith("This node hangs, restart it: the scheduler of checks.")
        assert "hangs" in node.output()
        node.send(signal.SIGABRT)  # as systemd does then
        assert node.wait(10) == -signal.SIGABRT
        assert "Current thread" in node.output(), "where it stood"
        assert "the scheduler of checks" in node.output()


def test_what_a_check_runs_cannot_speak_for_the_node(manager: Manager, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"env >{seen}.f; mv {seen}.f {seen}.function"
    function = f"import os\ndef check(arguments, timeout_seconds):\n    os.system({program!r})\n"
    (tmp_path / "node").mkdir()
    (tmp_path / "node/spawning.py").write_text(function)
    config = (
        f'[[check]]\nname = "program"\ncommand = ["sh", "-c", "env >{seen}.p; mv {seen}.p {seen}.program"]\ninterval = "1s"\n'
        '[[check]]\nname = "function"\nentry = "spawning:check"\ninterval = "1s"\n'
    )
    with _Supervised(tmp_path / "node", manager, config) as node:
        node.start()
        manager.until("READY", _START_SECONDS)
        for kind in ("program", "function"):
            deadline = time.monotonic() + 20
            while not (found := Path(f"{seen}.{kind}")).exists():
                assert time.monotonic() < deadline, kind
                manager.listen(0.2)
            assert "PATH=" in found.read_text()
            assert "NOTIFY_SOCKET" not in found.read_text()
            assert "WATCHDOG" not in found.read_text()


def test_without_systemd_nothing_is_different(manager: Manager, tmp_path: Path) -> None:
    with _Supervised(tmp_path / "node", manager) as node:
        del node.environment["NOTIFY_SOCKET"]
        node.start()
        node.wait_ready()
        node.send(signal.SIGHUP)
        assert node.stop() == 0
        assert manager.waiting() == []
        assert "service manager" not in node.output()
