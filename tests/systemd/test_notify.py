"""One datagram to whoever runs this process, or nothing; and nobody else can speak for it."""

import os
import secrets
import socket
import subprocess
from pathlib import Path

import pytest

from demesh.systemd.notify import Notifying, take_notifying
from tests.systemd.listening import Manager


def test_a_message_reaches_a_path(tmp_path: Path) -> None:
    with Manager(str(tmp_path / "notify")) as manager:
        assert Notifying(manager.address).tell("READY=1", "STATUS=2/3 peers")
        assert manager.waiting() == [{"READY": "1", "STATUS": "2/3 peers"}]


def test_a_message_reaches_an_abstract_socket() -> None:
    with Manager(f"@demesh-test-{secrets.token_hex(8)}") as manager:
        assert Notifying(manager.address).tell("WATCHDOG=1")
        assert manager.waiting() == [{"WATCHDOG": "1"}]


def test_nobody_who_wants_to_know_is_no_failure() -> None:
    assert Notifying().tell("READY=1")


def test_a_manager_that_is_gone_or_hangs_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not Notifying(str(tmp_path / "gone")).tell("READY=1")
    assert not Notifying("/" + "x" * 200).tell("READY=1")
    assert "READY" in caplog.text
    with Manager(str(tmp_path / "notify")) as manager:
        told = [Notifying(manager.address).tell("WATCHDOG=1") for _ in range(5_000)]
        assert told[0]
        assert not told[-1], "it takes no more, and is not waited for"


def test_the_environment_says_it_once() -> None:
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42", "PATH": "/bin"}
    assert take_notifying(environment, 42) == Notifying("@x", 3_000_000)
    assert environment == {"PATH": "/bin"}
    assert take_notifying(environment, 42) == Notifying()


def test_programs_that_a_node_starts_do_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "@1")
    take_notifying(os.environ, os.getpid())
    inherited = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert "PATH=" in inherited
    assert "NOTIFY_SOCKET" not in inherited
    assert "WATCHDOG_" not in inherited


@pytest.mark.parametrize(
    ("watchdog", "pid", "wanted"),
    [
        ("60000000", "42", 60_000_000),
        ("60000000", None, 60_000_000),
        ("60000000", "41", None),
        ("60000000", "", 60_000_000),
        ("0", "42", None),
        ("soon", "42", None),
        ("-5", "42", None),
        (None, None, None),
    ],
)
def test_only_the_own_watchdog_is_fed(watchdog: str | None, pid: str | None, wanted: int | None) -> None:
    given = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": watchdog, "WATCHDOG_PID": pid}
    environment = {name: value for name, value in given.items() if value is not None}
    assert take_notifying(environment, 42).watchdog_us == wanted
    assert environment == {}


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:1234", "@", "/"])
def test_an_address_that_cannot_be_used_is_none(address: str) -> None:
    assert take_notifying({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, 42) == Notifying()


def test_it_is_a_datagram_that_is_sent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        assert not Notifying(str(tmp_path / "stream")).tell("READY=1")
