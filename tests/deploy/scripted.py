"""deploy/swarm in a checkout of its own, with a `docker` that only keeps what it is told (tests/deploy/fake_docker.py)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Swarm:
    """The script in a checkout of its own, with a `docker` that only keeps what it is told."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "docker"
        for kind in ("volume", "secret", "config", "image"):
            (self.state / kind).mkdir(parents=True)
        (self.state / "used").touch()
        self.say(updates="completed", replicas="1/1", tasks="what is deployed", networks="bridge 172.17.0.0/16")
        self.checkout = directory / "checkout"
        shutil.copytree(ROOT / "deploy", self.checkout / "deploy")
        for name in ("demesh", "bin"):
            (self.checkout / name).mkdir()
        for name in ("demesh/node.py", "bin/uv.txt", "pyproject.toml", "uv.lock", ".dockerignore"):
            (self.checkout / name).touch()
        programs = directory / "bin"
        programs.mkdir()
        fake = Path(__file__).with_name("fake_docker.py")
        (programs / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} -IS {fake} "$@"\n')
        # What the image has: the command, and `python`.
        (programs / "demesh").write_text(f'#!/bin/sh\nexec {sys.executable} -m demesh "$@"\n')
        (programs / "sleep").write_text("#!/bin/sh\n")
        for each in programs.iterdir():
            each.chmod(0o755)
        (programs / "python").symlink_to(sys.executable)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FAKE_DOCKER": str(self.state),
            "HOME": str(directory),
        }
        self.said = ""
        (self.state / "arguments").touch()

    def say(self, **lines: str) -> None:
        """How the services are, from now on."""
        for name, text in lines.items():
            (self.state / name).write_text(text)

    def asked(self, *first: str) -> list[list[str]]:
        """What the script has asked of `docker` that begins so."""
        every = [json.loads(line) for line in (self.state / "arguments").read_text().splitlines()]
        return [each for each in every if each[: len(first)] == list(first)]

    def refuses(self, *arguments: str, **environment: str) -> str:
        """What it says when it does not deploy; nothing that is deployed has changed."""
        before = self.told()
        ran = self.run("up", *arguments, **environment)
        assert ran.returncode in (1, 2)
        assert self.told() == before
        return ran.stderr

    def told(self) -> list[list[str]]:
        """What was deployed, and when something was."""
        return [each for each in self.asked("stack", "deploy") if "--help" not in each]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [self.checkout / "deploy/swarm", *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.said += ran.stdout + ran.stderr
        return ran

    def up(self, *arguments: str, **environment: str) -> dict[str, str]:
        ran = self.run("up", *arguments, **environment)
        assert ran.returncode == 0, ran.stderr
        return self.variables()

    def variables(self) -> dict[str, str]:
        return self.deployed("variables.json")

    def deployed(self, name: str) -> Any:
        return json.loads((self.state / "deployed" / name).read_text())

    def text(self, name: str) -> str:
        return (self.state / "deployed" / name).read_text()

    def configs(self) -> set[str]:
        return {each.name for each in (self.state / "config").iterdir()}

    def secrets(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in (self.state / "secret").iterdir()}
