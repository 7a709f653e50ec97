"""Real processes for end-to-end tests: nodes, an Alertmanager, and a web server that does what it is told."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import quote

import pytest

from tests.ports import free_port

_T = TypeVar("_T")
POLL_SECONDS = 0.1


def eventually(
    read: Callable[[], _T],
    accept: Callable[[_T], bool],
    seconds: float,
    what: str,
    every: float = POLL_SECONDS,
) -> _T:
    """What `read` gives once `accept` holds for it; fails with the last value when `seconds` are over."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            last = read()
            if accept(last):
                return last
        time.sleep(every)  # other processes tell nobody when they are done
    raise AssertionError(f"not within {seconds} s: {what}; last seen: {json.dumps(last, indent=1, default=str)}")


def cannot_run(reason: str) -> NoReturn:
    """This test lacks something here: it is skipped, in CI it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require(program: str) -> str:
    """The path of a program, without which the test cannot run."""
    return shutil.which(program) or cannot_run(f"{program} is not installed")


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


class WebServer:
    """Answers GET with `status`, or with what `answers` has for who says in `X-From` who it is; remembers what is posted to it
    as JSON.
    """

    def __init__(self) -> None:
        self.status = 200
        self.answers: dict[str, int] = {}
        self.posted: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"Welcome\n"
                self.send_response(outer.answers.get(self.headers.get("X-From", ""), outer.status))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not outer.take(document, self.headers.get("Authorization", "").removeprefix("Bearer ")):
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, document: Any, bearer: str) -> bool:
        """Take what was posted; False: leave it without an answer."""
        self.posted.append(document)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HttpsServer(WebServer):
    """The same behind TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")


class Alertmanager:
    """A real one, which tells `hook` of everything as soon as it can, with the token in a file if there is one; or that does as
    `written` says.
    """

    def __init__(self, directory: Path, hook: str, token_file: Path | None = None, written: str = "") -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "alertmanager.yml"
        bearer = f", http_config: {{authorization: {{credentials_file: '{token_file}'}}}}" if token_file else ""
        config.write_text(
            written
            or "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{hook}', send_resolved: true{bearer}}}]}}]\n"
        )
        self._command = [
            require("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]

    @contextmanager
    def running(self) -> Generator["Alertmanager"]:
        with process(self._command, f"{self.url}/-/ready"):
            yield self

    def alerts(self) -> list[dict[str, Any]]:
        return get_json(f"{self.url}/api/v2/alerts")


@contextmanager
def process(command: Sequence[str], url: str) -> Generator[None]:
    """Run a server until the end of the block; it is ready once `url` answers 200."""
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: urllib.request.urlopen(url).status, lambda status: status == 200, 20, command[0])
        yield
    finally:
        started.kill()
        started.wait()


class Blackbox:
    """A real blackbox_exporter."""

    def __init__(self, directory: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "blackbox.yml"
        config.write_text("modules: {http: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}}\n")
        program, listen = require("prometheus-blackbox-exporter"), self.url.removeprefix("http://")
        self._command = [program, f"--config.file={config}", f"--web.listen-address={listen}"]

    @contextmanager
    def running(self) -> Generator["Blackbox"]:
        with process(self._command, f"{self.url}/-/healthy"):
            yield self

    def probe(self, target: str) -> str:
        """Its metrics of one HTTP probe."""
        with urllib.request.urlopen(f"{self.url}/probe?module=http&target={target}", timeout=5) as answer:
            return answer.read().decode()


class Prometheus:
    """A real one that scrapes `node` (host and port) every second, as docs/monitoring.md says; or that does as `written` says."""

    def __init__(self, directory: Path, node: str, token_file: Path | None = None, written: str = "") -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "prometheus.yml"
        bearer = f"authorization: {{credentials_file: '{token_file}'}}, " if token_file else ""
        config.write_text(
            written
            or "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: demesh, honor_labels: true, {bearer}"
            f"static_configs: [{{targets: ['{node}']}}]}}]\n"
        )
        self._command = [
            require("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=error",
        ]

    @contextmanager
    def running(self) -> Generator["Prometheus"]:
        with process(self._command, f"{self.url}/-/ready"):
            yield self

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        return get_json(f"{self.url}/api/v1/query?query={quote(expression)}")["data"]["result"]

    def targets(self) -> list[dict[str, Any]]:
        return get_json(f"{self.url}/api/v1/targets")["data"]["activeTargets"]


class NodeProcess:
    """A node with a home of its own, run by the installed command."""

    inside: Sequence[str] = ()
    """What the command is run by, if it is to run elsewhere than here."""

    def __init__(self, home: Path, name: str, config: str = "", swarm_key: Path | None = None) -> None:
        self.home = home
        self.name = name
        self.swarm = f"127.0.0.1:{free_port()}"
        self.api = f"127.0.0.1:{free_port()}"
        self._swarm_key = swarm_key
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)
        (home / "runtime").mkdir(exist_ok=True)
        (home / "demesh.toml").write_text(config)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(home / "runtime"), "DEMESH_HOME": str(home)}
        self.environment.pop("DEMESH_SWARM_KEY_FILE", None)

    def start(self, *arguments: str) -> None:
        key = ("--swarm-key-file", str(self._swarm_key)) if self._swarm_key else ()
        command = [
            *(*self.inside, sys.executable, "-m", "demesh", "node", "run"),
            *("--name", self.name, "--listen", self.swarm, "--api", self.api, *key, *arguments),
        ]
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=self.environment)

    def wait_ready(self, seconds: float = 60) -> None:
        ready = f"node {self.name} answers; {self.output()}"
        eventually(self.status, lambda answer: bool(answer["node"]), seconds, ready)

    def read(self, path: str) -> bytes:
        """What its API answers there."""
        with urllib.request.urlopen(f"http://{self.api}{path}", timeout=5) as answer:
            return answer.read()

    def status(self) -> dict[str, Any]:
        return json.loads(self.read("/api/v1/status"))

    def heads(self) -> list[dict[str, Any]]:
        return json.loads(self.read("/api/v1/log/heads"))

    def output(self) -> str:
        return (self.home / "output").read_text()

    def run_command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another demesh command for this node."""
        command = [sys.executable, "-m", "demesh", *arguments]
        return subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=30, check=False
        )

    def kill(self) -> None:
        """As a power cut would end it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """As an operator would; returns the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
        return self.wait(10)

    def send(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.runs():
            self.kill()
