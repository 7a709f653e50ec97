"""The stack on a real engine, from a clean clone to its removal. Runs only where Docker's engine is a Swarm of one machine.

It builds the image on `demesh-base:bookworm` if there is such a one, or else on what deploy/Dockerfile names, and Alertmanager
and Prometheus from deploy/standins. Karma and Grafana have no stand-ins: they are deployed with no replica.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
ROOT = Path(__file__).parents[2]
_STACK = "demesh-test"
_RESTART_SECONDS = 75  # so that a killed task stays away for longer than it takes to call it silent
_BASE = "demesh-base:bookworm"


def _docker(*arguments: str, fails: bool = False, seconds: float = 300) -> str:
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds)
    assert fails or ran.returncode == 0, ran.stderr
    return ran.stdout if ran.returncode == 0 else ""


class Stack:
    """The stack that the script of a clone deploys."""

    def __init__(self, checkout: Path) -> None:
        self._script = checkout / "deploy/swarm"
        base = {"DEMESH_BASE": _BASE} if _docker("image", "inspect", _BASE, fails=True) else {}
        self._environment = (
            os.environ
            | base
            | {
                "DEMESH_STACK": _STACK,
                "DEMESH_SUBNET": "10.84.73.0/24",
                "DEMESH_BUILD": "--network host",
                "DEMESH_RESTART_DELAY": f"{_RESTART_SECONDS}s",
                "ALERTMANAGER_IMAGE": "demesh-test/alertmanager",
                "PROMETHEUS_IMAGE": "demesh-test/prometheus",
                "KARMA_REPLICAS": "0",
                "GRAFANA_REPLICAS": "0",
            }
        )
        arguments = ["--build-arg", f"BASE={_BASE}"] if base else []
        for name in ("alertmanager", "prometheus"):
            tag = f"demesh-test/{name}"
            _docker(
                "build", "--network", "host", "--target", name, "-t", tag, *arguments, str(checkout / "deploy/standins")
            )

    def run(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self._script, *arguments], env=self._environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def tasks(self) -> list[str]:
        return _docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={_STACK}_demesh").split()

    def ask(self, task: str, *command: str) -> Any:
        return json.loads(_docker("exec", task, "demesh", *command, "--json", fails=True) or "null")

    def see_each_other(self) -> bool:
        """Whether each of three tasks says that all three are alive, and that both checks are up."""
        said = [self.ask(task, "status") for task in self.tasks()]
        return len(said) == 3 and all(
            each
            and [node["presence"] for node in each["nodes"]] == ["alive"] * 3
            and [check["state"] for check in each["checks"]] == ["up"] * 2
            for each in said
        )

    def alerts(self) -> list[str]:
        """What fires at the stack's Alertmanager besides watchdogs: names and nodes."""
        ask = "import urllib.request; print(urllib.request.urlopen('http://alertmanager:9093/api/v2/alerts').read().decode())"
        # A task that is being replaced just then cannot say; that is a ValueError here, and the next one is asked.
        alerts = json.loads(_docker("exec", self.tasks()[0], "python", "-c", ask, fails=True))
        labels = [each["labels"] for each in alerts]
        return [f"{each['alertname']} {each.get('node')}" for each in labels if each["alertname"].startswith("Demesh")]

    def watchdogs(self) -> int:
        return sum(each.startswith("DemeshWatchdog") for each in self.alerts())

    def wrong(self) -> list[str]:
        return [each for each in self.alerts() if not each.startswith("DemeshWatchdog")]

    def update(self) -> str:
        """How far the last update of the nodes is."""
        asked = ("--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}")
        return _docker("service", "inspect", f"{_STACK}_demesh", *asked).strip()

    def members(self) -> dict[str, tuple[str, str]]:
        """By name: peer id and log."""
        return {each["name"]: (each["peer_id"], each["log"]) for each in self.ask(self.tasks()[0], "members")}

    def left(self, kind: str) -> list[str]:
        every = ["-a"] if kind == "container" else []
        return _docker(kind, "ls", "-q", *every, "--filter", f"label=com.docker.stack.namespace={_STACK}").split()


@pytest.fixture
def stack(tmp_path: Path) -> Generator[Stack]:
    if (
        not shutil.which("docker")
        or _docker("info", "--format", "{{.Swarm.ControlAvailable}}", fails=True).strip() != "true"
    ):
        pytest.skip("no Docker engine here that manages a Swarm")
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, checkout], check=True, timeout=60)
    stack = Stack(checkout)
    assert stack.left("volume") == [], "left by another run: docker volume rm"
    try:
        yield stack
    finally:
        stack.run("down")
        for volume in stack.left("volume"):
            _docker("volume", "rm", volume)


def test_a_stack_from_its_first_day_to_its_last(stack: Stack) -> None:
    stack.run("up", "--replicas", "3")
    eventually(stack.see_each_other, bool, 60, "three nodes that see each other", every=2)
    eventually(stack.watchdogs, lambda many: many == 3, 60, "three watchdogs", every=2)
    members, tasks = stack.members(), stack.tasks()

    # The same again changes nothing.
    stack.run("up", "--replicas", "3")
    assert stack.tasks() == tasks

    # A task that is killed is told once, and taken back when its successor goes on.
    killed = _docker("inspect", tasks[0], "--format", "{{.Config.Hostname}}").strip()
    _docker("kill", tasks[0])
    eventually(stack.wrong, lambda alerts: alerts == [f"DemeshNodeSilent {killed}"], 60, "the silence told", every=2)
    eventually(stack.see_each_other, bool, _RESTART_SECONDS + 30, "the successor", every=2)
    eventually(stack.wrong, lambda alerts: alerts == [], 30, "the silence over", every=2)

    # An update goes through all of them, and nobody is told anything.
    _docker("service", "update", "--force", "--detach", f"{_STACK}_demesh")
    told = eventually(
        lambda: (stack.update(), stack.wrong()),
        lambda seen: seen[0] == "completed" or seen[1] != [],
        300,
        "update",
        every=1,
    )
    assert told == ("completed", [])
    assert not set(stack.tasks()) & set(tasks)
    eventually(stack.see_each_other, bool, 60, "three nodes after an update", every=2)
    assert stack.members() == members

    # Removed, it leaves nothing but volumes; deployed again, the same members go on in the same logs.
    stack.run("down")
    assert {kind: stack.left(kind) for kind in ("service", "container", "network", "secret", "config")} == {
        kind: [] for kind in ("service", "container", "network", "secret", "config")
    }
    assert len(stack.left("volume")) > 6
    stack.run("up", "--replicas", "3")
    eventually(stack.see_each_other, bool, 60, "three nodes that see each other again", every=2)
    assert stack.members() == members
    assert stack.wrong() == []
