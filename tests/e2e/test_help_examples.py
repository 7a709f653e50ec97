"""Every example in every command's help works when it is typed in, and every command in README and docs: found there, run by a
shell, on a real node. What of docs is run elsewhere, and where, is in tests/e2e/typed.py.

A command that someone adds is covered without a line here. What an example names is put in its place before it is run:

    example.org, example.net, example.com    a web server on this machine
    host:8471, a node to dial                the swarm address of a running node of the same mesh
    http://host:8470, a node to ask          the API of that node
    files                                    swarm.key and such lie in the directory where it is run
    ssh second                               a shell on this machine, with a home of its own

An example passes when it exits with 0, or with a code that the help gives a meaning ("Exits 0 …, 1 …"), and shows neither a
traceback nor a complaint about how it was called. One that runs for ever is ended by SIGTERM and must then exit with 0.
"""

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from demesh.cli import root
from tests.cli.harness import commands, examples
from tests.e2e.harness import NodeProcess, WebServer, eventually, require
from tests.e2e.typed import typed
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_FOR_EVER_SECONDS = 20
"""What has not ended by itself until then is taken to run for ever."""
_END_SECONDS = 10
_OWN_HOME = re.compile(
    r"(?<!ssh second )(?<!ssh nas )demesh (init|node run|swarm-key new|join|restore|demo|check (?!run)|log repair)\b"
)
"""Commands that want a home of their own, not that of the running node: they make one, or change its configuration."""
_CONFIGURED = re.compile(r"demesh check (?!add\b|run\b)")
"""Those of them that want to find a configuration there."""
_RESTORED = re.compile(r"demesh log repair\b")
"""Those that want a home whose node does not run."""
_CONFIG = '[[check]]\nname = "blog"\ntarget = "{target}"\ninterval = "1s"\n'
_RUNS_FOR_EVER = {"node run": "ask with: demesh status", "--follow": '"kind"', "-f": "nas"}
"""What is known to run for ever, and what it says once it does: only so that the test need not wait."""
_PLACE = re.compile(r"\bexample\.(?:org|net|com)\b")
_SWARM = re.compile(r"[\w.-]+:8471")
_API = re.compile(r"http://[\w.-]+:8470")
_TARGET = re.compile(r"https?://[\w.-]*example\.(?:org|net|com)")


def _path(typed: str) -> str:
    """The command that is called first."""
    words = re.split(r"\bdemesh ", typed, maxsplit=1)[1].split()
    return next(path for path in (" ".join(words[:count]) for count in (2, 1)) if path in _COMMANDS)


_COMMANDS = {" ".join(path): command for path, command in commands(root)}
_LEAVES = {path: command for path, command in _COMMANDS.items() if not isinstance(command, click.Group)}
_IN_HELP = dict.fromkeys(
    (path, example)
    for path, command in _COMMANDS.items()
    for example in examples(command)
    if path in _LEAVES or path == _path(example)
)

_RUN = re.compile(r"demesh [a-z]|curl http://127\.0\.0\.1:8470/")
_NAMES = {"'web*' api": "'bl*' blog", "explain shop": "explain blog", " --from tag:eu --from vps1": " --from nas"}


def _in_docs() -> Iterator[tuple[str, str]]:
    """The commands of README and docs that are run here, each once; of what is not demesh's the path is empty."""
    known = {example for _, example in _IN_HELP}
    for line in dict.fromkeys(each.command for each in typed() if each.elsewhere is None):
        if line not in known and _RUN.match(line):
            yield "" if line.startswith("curl ") else _path(line), line


_EXAMPLES = [*_IN_HELP, *_in_docs()]


def _codes(command: click.Command) -> set[int]:
    """0, and those that the help explains."""
    said = re.search(r"\bExits\b(.*?)(?:\n\n|\Z)", inspect.cleandoc(command.help or ""), re.DOTALL)
    return {0, *map(int, re.findall(r"\b([0-9])\b", said[1] if said else ""))}


@dataclass
class _Place:
    """A running node, a web server, and a directory to type in."""

    node: NodeProcess
    web: WebServer
    swarm_key: Path
    directory: Path

    def fit(self, example: str) -> str:
        """`example` with what is on this machine in place of what it names."""
        for name, known in _NAMES.items():
            example = example.replace(name, known)
        example = re.sub(r"^curl ", f"{require('curl')} -fsS ", example) if example.startswith("curl ") else example
        fitted = _API.sub(f"http://{self.node.api}", example.replace("0.0.0.0:8470", f"127.0.0.1:{free_port()}"))
        fitted = _SWARM.sub(self.node.swarm, fitted)
        fitted = _TARGET.sub(self.web.url, fitted)
        fitted = _PLACE.sub("127.0.0.1", fitted)
        if "node run" in fitted:
            fitted = fitted.replace("node run", f"node run --listen 127.0.0.1:{free_port()}", 1)
            if "--api" not in fitted:
                fitted = fitted.replace("node run", f"node run --api 127.0.0.1:{free_port()}", 1)
        return fitted

    def environment(self, example: str) -> dict[str, str]:
        home = self.directory / "home" if _OWN_HOME.search(example) else self.node.home
        if _CONFIGURED.search(example):
            for place in (home, self.directory):
                place.mkdir(exist_ok=True)
                (place / "demesh.toml").write_text(_CONFIG.format(target=self.web.url))
        elif "demesh check add" in example:
            home.mkdir()
        elif _RESTORED.search(example):
            self.node.run_command("backup", str(self.directory / "node.tar"))
            self.node.run_command("restore", str(self.directory / "node.tar"), "--data-dir", str(home))
        elif "demesh restore" in example:
            self.node.run_command("backup", str(self.directory / "nas-monday.tar"))
        shims = self.directory / "bin"
        return {
            **self.node.environment,
            "DEMESH_HOME": str(home),
            "HOME": str(self.directory),
            "PATH": f"{shims}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, WebServer, Path]]:
    with WebServer() as web:
        node = NodeProcess(tmp_path_factory.mktemp("node"), "nas", _CONFIG.format(target=web.url))
        with node:
            node.start("--advertise", node.swarm)
            node.wait_ready()
            eventually(node.status, lambda said: said["checks"][0]["state"] == "up", 20, "a check that is up")
            yield node, web, node.home / "swarm.key"


@pytest.fixture
def place(running: tuple[NodeProcess, WebServer, Path], tmp_path: Path) -> _Place:
    shim = tmp_path / "bin" / "demesh"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m demesh "$@"\n')
    shim.chmod(0o755)
    ssh = shim.with_name("ssh")
    ssh.write_text('#!/bin/sh\nshift\nDEMESH_HOME=$HOME/home exec "$@"\n')
    ssh.chmod(0o755)
    return _Place(*running, tmp_path)


@pytest.mark.parametrize("path", _LEAVES)
def test_every_command_has_an_example_of_itself(path: str) -> None:
    shown = examples(_LEAVES[path])
    assert any(f"demesh {path}" in example for example in shown), f"the help of `demesh {path}` shows no example"


def test_every_command_of_the_docs_is_run_or_named() -> None:
    left = [each for each in typed() if each.elsewhere is None and not _RUN.match(each.command)]
    assert left == [], "run it here, or say in tests/e2e/typed.py where it is run"
    assert {"curl http://127.0.0.1:8470/metrics", "demesh swarm-key new swarm_key/swarm.key"} <= {
        example for _, example in _EXAMPLES
    }, "they are found"


@pytest.mark.parametrize(("path", "example"), _EXAMPLES, ids=[example for _, example in _EXAMPLES])
def test_the_example_works(
    path: str, example: str, place: _Place, running: tuple[NodeProcess, WebServer, Path]
) -> None:
    if path != "swarm-key new":  # which makes the file
        shutil.copy(place.swarm_key, place.directory / "swarm.key")
    if path == "join":
        (place.directory / "invitation").write_text(place.node.run_command("invite").stdout)
    if path == "servers import":
        for name, address in (("stun_v4.csv", "8.8.8.8"), ("stun_v6.csv", "2001:4860:4860::8888")):
            (place.directory / name).write_text(f"{address},3478\n")
    if path == "token new":
        (place.directory / "prometheus.token").write_text("a" * 64)
    tokens = place.node.run_command("token", "list").stdout
    if path == "token revoke" and "grafana" not in tokens:
        place.node.run_command("token", "new", "--read", "--name", "grafana")
    elif path == "token new" and (named := re.search(r"--name (\w+)", example)) and named[1] in tokens:
        place.node.run_command("token", "revoke", named[1])
    output = place.directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", place.fit(example)],
            cwd=place.directory,
            env=place.environment(example),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = _wait(process, path, example, output)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if path == "node leave":  # the next example wants the node
        place.node.wait(_END_SECONDS)
        place.node.start()
        place.node.wait_ready()
    said = output.read_text()
    assert code in (_codes(_COMMANDS[path]) if path else {0}), said
    assert "Traceback" not in said
    assert "Usage: " not in said, said
    assert not re.search(r"\bno node (is running|at)\b", said, re.IGNORECASE), said


def _wait(process: subprocess.Popen[bytes], path: str, example: str, output: Path) -> int:
    """The exit code; what runs for ever is asked to end once it does."""
    ready = next((said for what, said in _RUNS_FOR_EVER.items() if what in (path, *example.split())), None)
    try:
        if ready is None:
            return process.wait(_FOR_EVER_SECONDS)
        eventually(output.read_text, lambda said: ready in said or process.poll() is not None, 30, f"{path} runs")
    except subprocess.TimeoutExpired:
        pass
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    return process.wait(_END_SECONDS)
