"""The first hour of docs/operations.md, and what comes after it, played from the page's own text, on two homes of this machine.

In the place of what is the machine's: no checkout, user, owner or link is made; systemd starts and stops the nodes, and that is
done here; its unit is only printed, and must be of the home that the page speaks of. The line that `demesh join` asks for comes
from the `demesh invite` of the page. All other commands are run in order by a shell, but for places, ports and targets.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import NodeProcess, WebServer, eventually
from tests.e2e.typed import blocks

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_PAGE = "docs/operations.md"
_OF_THE_MACHINE = ("git ", "ln -s /opt/demesh/", "useradd ", "chown -R demesh:demesh /var/lib/demesh")
_FASTER = '\n[defaults]\ninterval = "1s"\n'
"""Added to each configuration, so that nothing here takes minutes."""


class _Machine:
    """One of those that the page speaks of; `web` stands for what it watches and whom it tells."""

    def __init__(self, place: Path, name: str, web: WebServer) -> None:
        self.node = NodeProcess(place / "home", name)
        self._place, self._web = place, web
        self._empty_home()
        (place / "runtime").mkdir()
        shim = place / "bin" / "demesh"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m demesh "$@"\n')
        shim.chmod(0o755)
        self.node.environment |= {
            "XDG_RUNTIME_DIR": str(place / "runtime"),
            "PATH": f"{shim.parent}:{self.node.environment['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def type(self, block: str, stdin: str = "") -> str:
        """Run a block; returns what it printed."""
        return "".join(self._run(command, stdin) for command in _commands(block))

    def _empty_home(self) -> None:
        shutil.rmtree(self.node.home)
        self.node.home.mkdir(mode=0o700)

    def _run(self, command: str, stdin: str) -> str:
        if command.startswith(_OF_THE_MACHINE):
            return ""
        if command.startswith("systemctl "):
            self._systemctl(command.removeprefix("systemctl "))
            return ""
        if command in ("demesh install-unit", "demesh install-unit --data-dir /var/lib/demesh"):
            unit = self._shell("demesh install-unit --print --data-dir /var/lib/demesh", "")
            assert "Environment=DEMESH_HOME=/var/lib/demesh\n" in unit, "the home of the page"
            assert "User=demesh\n" in unit
            return ""
        if command.startswith("demesh restore "):
            self._empty_home()  # that of the new machine
        said = self._shell(self._here(command), stdin)
        if command.startswith(("demesh init ", "demesh join ")):
            with (self.node.home / "demesh.toml").open("a") as file:
                file.write(_FASTER)
        return said

    def _here(self, command: str) -> str:
        """With what is on this machine in place of what the page names."""
        command = re.sub(r"^runuser -u demesh -- ", "", command)
        command = command.replace("install -o demesh -g demesh ", "install ")
        command = command.replace("/var/lib/demesh", str(self.node.home)).replace(
            "vps1.example.net:8471", self.node.swarm
        )
        return re.sub(r"(?:https|ntfys)://[\w.-]+/?[\w-]*", self._web.url, command)

    def _shell(self, command: str, stdin: str) -> str:
        ran = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self._place,
            env=self.node.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found_something = (1,) if command in ("demesh doctor", "demesh status") else ()
        assert ran.returncode in (0, *found_something), f"{command}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def _systemctl(self, what: str) -> None:
        if what in ("disable --now demesh", "restart demesh") and self.node.runs():
            assert self.node.stop() == 0
        if what in ("enable --now demesh", "restart demesh"):
            self.node.start("--advertise", self.node.swarm)
            self.node.wait_ready()
        else:
            assert what in ("disable --now demesh", "daemon-reload"), what


def _commands(block: str) -> list[str]:
    """A line each, but for what a `<<'END'` takes with it."""
    found = re.findall(r"^.*<<'END'\n(?:.*\n)*?END$|^.+$", block, re.MULTILINE)
    assert found
    return found


def _inviting() -> str:
    """What the page tells to type for the line that `join` asks for, where others cannot reach this machine as it believes."""
    found = re.search(
        r"`(demesh invite --name nas --advertise [^`]*)`", (Path(__file__).parents[2] / _PAGE).read_text()
    )
    assert found
    return found[1]


def _told(web: WebServer, alert: str, status: str) -> bool:
    return any(
        each["labels"]["alertname"] == alert and each["status"] == status
        for post in web.posted
        for each in post["alerts"]
    )


def _votes(status: dict[str, Any]) -> dict[str, str]:
    return {each["node"]: each["vote"] for check in status["checks"] for each in check["vantages"]}


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebServer, _Machine, _Machine]]:
    with WebServer() as web:
        place = tmp_path_factory.mktemp("hour")
        vps1, nas = (_Machine(place / name, name, web) for name in ("vps1", "nas"))
        with vps1.node, nas.node:
            yield web, vps1, nas


def test_the_first_hour_goes_as_it_is_written(hour: tuple[WebServer, _Machine, _Machine]) -> None:
    web, vps1, nas = hour
    one, watch, tell, test, second, why, copy = blocks(_PAGE, "The first hour")
    vps1.type(one)
    vps1.type(watch)
    eventually(vps1.node.status, lambda said: _votes(said) == {"vps1": "pass"}, 20, "the check is up")
    vps1.type(tell)
    eventually(vps1.node.status, lambda said: len(said["sinks"]) == 1, 10, "whom to tell is taken up")
    vps1.type(test)
    assert web.posted, "the test arrived"
    nas.type(second, stdin=vps1.type(_inviting()))
    eventually(nas.node.status, lambda said: _votes(said) == {"vps1": "pass", "nas": "pass"}, 40, "both see it")
    nas.type(tell)
    web.status = 503
    eventually(lambda: _told(web, "DemeshCheckDown", "firing"), bool, 60, "the phone rings")
    assert "shop is down" in vps1.type(why)
    web.status = 200
    eventually(lambda: _told(web, "DemeshCheckDown", "resolved"), bool, 60, "the phone says that it is over")
    vps1.type(copy)
    nas.node.kill()
    eventually(lambda: _told(web, "DemeshNodeSilent", "firing"), bool, 90, "the plug was pulled")
    nas.type("systemctl enable --now demesh\n")


def test_a_node_is_updated_moved_and_lost_as_it_is_written(hour: tuple[WebServer, _Machine, _Machine]) -> None:
    _, vps1, nas = hour
    update, pack, unpack, forget, new_key, put_key = blocks(_PAGE, "Updating, moving, losing")
    member = nas.node.run_command("node", "id").stdout
    nas.type(update)
    nas.type(pack)
    nas.type(unpack)
    assert nas.node.run_command("node", "id").stdout == member, "moved, it is the same member"
    eventually(nas.node.status, lambda said: _presence(said) == ["alive", "alive"], 40, "both in the mesh")

    nas.type("systemctl disable --now demesh\n")
    for name in ("node.key", "log.db", "log.db-wal", "log.db-shm", "view.db", "view.db-wal", "view.db-shm"):
        (nas.node.home / name).unlink(missing_ok=True)
    nas.type("systemctl enable --now demesh\n")
    eventually(vps1.node.status, lambda said: len(said["nodes"]) == 3, 40, "the new member is another one")
    (old,) = (each["name"] for each in vps1.node.status()["nodes"] if each["presence"] not in ("alive", "suspect"))
    assert old.startswith("nas~")
    vps1.type(forget.replace("old-nas", old))
    eventually(nas.node.status, lambda said: _presence(said) == ["alive", "alive"], 40, "it is forgotten on both")

    mesh = vps1.node.status()["mesh"]
    for machine in (vps1, nas):
        machine.type("systemctl disable --now demesh\n")
        (machine.node.home / "swarm.key").unlink()
    vps1.type(new_key)
    shutil.copy(vps1.node.home.parent / "swarm.key", nas.node.home.parent)
    for machine in (vps1, nas):
        machine.type(put_key)
    eventually(nas.node.status, lambda said: _presence(said) == ["alive", "alive"], 60, "both with the new key")
    assert nas.node.status()["mesh"] == mesh


def _presence(status: dict[str, Any]) -> list[str]:
    return [each["presence"] for each in status["nodes"] if each["presence"] != "left"]
