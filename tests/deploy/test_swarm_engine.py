"""The stack on a real engine, from a clean clone to its removal. Runs only where Docker's engine is a Swarm of one machine.

It builds the image on `demesh-base:bookworm` if there is such a one, or else on what deploy/Dockerfile names, and Alertmanager
and Prometheus from deploy/standins. Karma and Grafana have no stand-ins: they are deployed with no replica.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Generator, Iterator
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

    def run(self, *arguments: str, **environment: str) -> str:
        ran = self._run(*arguments, **environment)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def fails(self, *arguments: str, **environment: str) -> str:
        """What it says when it does not do it."""
        ran = self._run(*arguments, **environment)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        return ran.stderr

    def _run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._script, *arguments],
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def with_each_client(self) -> Iterator[dict[str, str]]:
        """The environments in which `docker` is each of those that are installed: a newest and one of 20.10, if you have both."""
        path = self._environment["PATH"].split(":")
        for n, place in enumerate(each for each in dict.fromkeys(path) if (Path(each) / "docker").exists()):
            one = self._script.parent / f"client-{n}"
            one.mkdir(exist_ok=True)
            (one / "docker").unlink(missing_ok=True)
            (one / "docker").symlink_to(Path(place) / "docker")
            yield {"PATH": f"{one}:{self._environment['PATH']}"}

    def file(self, name: str, text: str) -> str:
        """A configuration of one's own."""
        path = self._script.parent / name
        path.write_text(text)
        return str(path)

    def names(self, kind: str) -> set[str]:
        asked = ("--format", "{{.Name}}", "--filter", f"label=com.docker.stack.namespace={_STACK}")
        return set(_docker(kind, "ls", *asked).split())

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

    def keys(self, command: str) -> str:
        """What a shell command says in the volume of the keys."""
        image = _docker(
            "service", "inspect", f"{_STACK}_demesh", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
        ).strip()
        volume = ("-v", f"{_STACK}_keys:/var/lib/demesh", "--entrypoint", "sh")
        return _docker("run", "--rm", "--network", "none", *volume, image, "-euc", command)

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
        _docker(
            "node",
            "update",
            "--label-rm",
            f"{_STACK}_volumes",
            _docker("info", "--format", "{{.Swarm.NodeID}}").strip(),
        )


def _refuses_what_cannot_work(stack: Stack) -> None:
    bad = stack.file("bad.toml", '[[check]]\nname = "web"\ntarget = "http://x.example.net"\nintervall = "1s"\n')
    assert "intervall" in stack.fails("up", "--replicas", "3", DEMESH_CHECKS=bad)
    assert "has 10.84.73.0/24" in stack.fails("up", DEMESH_STACK=f"{_STACK}-2")


def _goes_back_from_what_fails(stack: Stack) -> None:
    """A configuration that is valid and fails at the start: the former one, which cannot be changed, must be there still."""
    text = (ROOT / "deploy/demesh.toml").read_text()
    fails = stack.file("fails.toml", text.replace('listen = "0.0.0.0:8470"', 'listen = "192.0.2.1:8470"'))
    configs = stack.names("config")
    said = stack.fails("up", "--replicas", "3", DEMESH_TOML=fails, DEMESH_RESTART_DELAY="1s")
    assert "what ran before runs again" in said
    eventually(stack.see_each_other, bool, 60, "three nodes after a rollback", every=2)
    assert stack.names("config") > configs
    stack.run("up", "--replicas", "3")
    eventually(stack.see_each_other, bool, 60, "three nodes that see each other", every=2)


def _keeps_its_key(stack: Stack) -> None:
    """None is made anew under a mesh that has one; a node tells it."""
    tasks, kept = stack.tasks(), stack.keys("cat swarm.key")
    stack.keys("rm swarm.key")
    assert "has no swarm key" in stack.fails("up", "--replicas", "3")
    told = _docker("exec", tasks[0], "cat", "/run/secrets/swarm_key")
    assert told == kept
    stack.run("up", "--replicas", "3", DEMESH_SWARM_KEY_FILE=stack.file("told.key", told))
    assert stack.tasks() == tasks


def test_a_stack_from_its_first_day_to_its_last(stack: Stack) -> None:
    stack.run("up", "--replicas", "3")
    eventually(stack.see_each_other, bool, 60, "three nodes that see each other", every=2)
    eventually(stack.watchdogs, lambda many: many == 3, 60, "three watchdogs", every=2)
    members, tasks = stack.members(), stack.tasks()

    # The same again changes nothing, with whatever client.
    for client in stack.with_each_client():
        stack.run("up", "--replicas", "3", **client)
        assert stack.tasks() == tasks

    _refuses_what_cannot_work(stack)
    assert stack.tasks() == tasks
    _goes_back_from_what_fails(stack)
    assert stack.members() == members
    _keeps_its_key(stack)
    tasks = stack.tasks()

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
