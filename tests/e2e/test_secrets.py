"""No planted secret is anywhere but where it was put: not in a log, a store, an answer of the API, or what a command prints.

One node runs with everything that can hold a secret, against servers that send back what they are sent. `backup` alone
holds secrets on purpose (docs/store.md), and what a command prints on its first line travels (docs/plugins.md).
"""

import json
import os
import re
import signal
import socketserver
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demesh.log.entry import Entry
from demesh.log.store import Store
from tests.certificates import make_authority
from tests.e2e.echoing import MqttEcho, TurnEcho, serving
from tests.e2e.harness import HttpsServer, NodeProcess, eventually
from tests.e2e.planted import found, planted
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_FIRST_LINE = "zq-told-on-purpose"
_ENVIRONMENT = ("path", "header", "expect", "json", "alerts")
_HOLDERS = {
    "node.key",
    "swarm.key",
    "demesh.toml",
    "answers.py",
    "command.sh",
    "password",
    "turn.password",
    "mqtt.password",
    "body",
    "api.token",
    "alerts.token",
    "output",
}
"""Files in which secrets were put; `output` is looked at by itself."""

_CONFIG = """
[node]
flush_interval = "1s"
[alerts]
alertmanager = ["http://{alertuser}:{alertpassword}@127.0.0.1:9", "http://${{ZQ_ALERTS}}@127.0.0.1:{web}/refuses",
    "http://127.0.0.1:{web}/refuses/too"]
token_file = "alerts.token"
[api]
token_file = "api.token"
public_listen = "127.0.0.1:{public}"
public_checks = "*"
[defaults]
interval = "1s"
timeout = "2s"
retry_interval = "1s"
fail_after = 1

[[check]]
name = "echo"
target = "http://{user}:{password}@127.0.0.1:{web}/echo/${{ZQ_PATH}}?token={query}#{fragment}"
method = "POST"
headers = {{ X-Plain = "{header}", Authorization = "Bearer ${{ZQ_HEADER}}" }}
body = "{body}"
[check.expect]
status = 204
body = "${{ZQ_EXPECT}}"
header = {{ X-Echo = "${{ZQ_EXPECT}}", X-Missing = "." }}
json = {{ "$.token" = "${{ZQ_JSON}}", "$.headers.X-Plain" = "no such", "$.missing" = 1 }}

[[check]]
name = "login"
target = "http://127.0.0.1:{web}/text"
user = "{login}"
password_file = "password"
method = "POST"
body_file = "body"
expect.body = "not there"

[[check]]
name = "redirect"
target = "http://127.0.0.1:{web}/redirect?to={redirectasked}"

[[check]]
name = "redirect away"
target = "http://127.0.0.1:{web}/away"

[[check]]
name = "proxy"
target = "http://shop.test/"
proxy = "http://{proxyuser}:{proxypassword}@127.0.0.1:{web}"

[[check]]
name = "no proxy"
target = "http://shop.test/"
proxy = "http://{proxyuser}:{proxypassword}@127.0.0.1:9"

[[check]]
name = "https"
target = "https://{user}:{password}@127.0.0.1:{https}/?token={query}"

[[check]]
name = "tls"
target = "tls://127.0.0.1:{https}"
send = "{tcpsend}"

[[check]]
name = "tcp"
target = "tcp://127.0.0.1:{tcp}"
send = "AUTH {tcpsend}\\n"
expect.answer = "${{ZQ_EXPECT}}"

[[check]]
name = "nagios"
type = "command"
command = ["{directory}/command.sh", "2", "{argument}", "${{ZQ_HEADER}}"]
env = {{ PLAIN = "{variable}", FROM_OUTSIDE = "${{ZQ_HEADER}}" }}

[[check]]
name = "json"
type = "command"
command = ["{directory}/command.sh", "0", "{argument}"]
output = "json"
env = {{ PLAIN = "{variable}" }}

[[check]]
name = "output"
type = "command"
command = ["{directory}/command.sh", "0", "{argument}"]
env = {{ PLAIN = "{variable}" }}
expect.output = "${{ZQ_EXPECT}}"

[[check]]
name = "raising"
type = "python"
entry = "answers:raising"
arguments = {{ key = "{pluginargument}" }}

[[check]]
name = "raising later"
type = "python"
entry = "answers:raising_later"
arguments = {{ key = "{pluginargument}" }}

[[check]]
name = "returning"
type = "python"
entry = "answers:returning"
arguments = {{ key = "{pluginargument}" }}

[[check]]
name = "dns"
target = "dns://127.0.0.1:9/example.org"
expect.records = "${{ZQ_EXPECT}}"

[[check]]
name = "turn"
target = "turn://127.0.0.1:{turn}"
user = "{turnuser}"
password_file = "turn.password"

[[check]]
name = "turn too"
target = "turn://127.0.0.1:{turn}"
user = "{turnuser}"
password_file = "turn.password"
relay = true

[[check]]
name = "turns"
target = "turns://127.0.0.1:{https}"
user = "{turnuser}"
password = "{turnspassword}"

[[check]]
name = "mqtt"
target = "mqtt://127.0.0.1:{mqtt}"
user = "{mqttuser}"
password_file = "mqtt.password"
topic = "told/on/purpose"

[[check]]
name = "mqtt 5"
target = "mqtt://{mqttuser}:{mqttpassword}@127.0.0.1:{mqtt}"
version = "5"

[[check]]
name = "up"
target = "http://{user}:{password}@127.0.0.1:{web}/up/${{ZQ_PATH}}?token={query}"
"""

_BAD = """
[alerts]
alertmanager = ["htp://{alertuser}:{alertpassword}@127.0.0.1:9"]
[[check]]
name = "target"
target = "http://{user}:{password}@[127.0.0.1:1/?token={query}"
[[check]]
name = "filled"
target = "htp://${{ZQ_PATH}}/a"
[[check]]
name = "values"
target = "http://{user}:{password}@127.0.0.1:1/?token={query}"
user = "{login}"
password = "{login}\\n"
headers = {{ X-Plain = "{header}\\n", Other = ["{header}"] }}
proxy = "http//{proxyuser}:{proxypassword}@127.0.0.1:9"
body = "{body}"
body_file = "body"
interval = "${{ZQ_HEADER}}"
expect = {{ body = "(${{ZQ_EXPECT}}", status = "${{ZQ_EXPECT}}" }}
[[check]]
name = "command"
type = "command"
command = "{argument}"
env = ["{variable}"]
[[check]]
name = "python"
type = "python"
entry = "answers:raising"
arguments = "{pluginargument}"
[[check]]
name = "turn"
target = "turn://{turnuser}:{turnspassword}@127.0.0.1:1"
user = "{turnuser}"
password = "{turnspassword}\n"
relay = "{turnspassword}"
[[check]]
name = "mqtt"
target = "mqtt://{mqttuser}:{mqttpassword}@127.0.0.1:1?{query}"
password = ["{mqttpassword}"]
version = "{mqttpassword}"
topic = "#{mqttpassword}"
[[check]]
name = "tcp"
target = "tcp://127.0.0.1"
send = ["{tcpsend}"]
"""
_NOT_TOML = '[[check]]\nname = "a"\nuser = "{login}"\npassword = {password}\n'

_COMMAND = """#!/bin/sh
echo "{first} | time=1s {perfdata}=1"
echo "{output} $3 $PLAIN $FROM_OUTSIDE"
echo "{stderr} $2 $PLAIN" >&2
exit "$1"
"""
_PLUGIN = """
from demesh.plugin import Answer

def raising(arguments, timeout_seconds):
    raise ValueError(f"{exception} {{arguments}}")

async def raising_later(arguments, timeout_seconds):
    raise ExceptionGroup(f"{exception} {{arguments}}", [ValueError(f"{exception}")])

def returning(arguments, timeout_seconds):
    return Answer(f"{exception} {{arguments}}")
"""


class _Echo(BaseHTTPRequestHandler):
    """Sends back all that it was sent, in body and headers."""

    received: "list[str]"
    elsewhere: str

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.received.append(f"{self.path}\n{self.headers}\n{sent}")
        echo = json.dumps({"token": self.path, "headers": dict(self.headers), "body": sent})
        status = 200
        headers = {"X-Echo": echo, "Set-Cookie": "session=" + sent.strip(), "Content-Type": "application/json"}
        if self.path.startswith("/redirect"):
            status, headers["Location"] = 302, self.elsewhere.format(port=self.connection.getsockname()[1])
        elif self.path.startswith("/away"):
            status, headers["Location"] = 302, self.elsewhere.format(port=9)
        elif self.path.startswith(("/landing", "/refuses", "http:")):
            status = 407 if self.path.startswith("http:") else 500
            headers["Proxy-Authenticate"] = f'Basic realm="{self.headers.get("Proxy-Authorization")}"'
        self.send_response(status, echo[:200] if status != 200 else None)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(echo)))
        self.end_headers()
        self.wfile.write(echo.encode())

    do_GET = do_POST = _answer  # noqa: N815 the base class looks for these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class calls it so
        pass


class _TcpEcho(socketserver.StreamRequestHandler):
    received: "list[str]"

    def handle(self) -> None:
        line = self.rfile.readline()
        self.received.append(line.decode())
        self.wfile.write(b"you said " + line)


@dataclass
class _Scene:
    """What was put where, and all that was said: by whom, and what."""

    node: NodeProcess
    words: "_Words"
    received: list[str]
    """By the servers."""
    keys: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Secrets that nobody planted: the node's own."""
    said: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def secrets(self) -> dict[str, bytes]:
        return {name: word.encode() for name, word in self.words.items() if word == planted(name)} | self.keys

    def ask(self, name: str, path: str, method: str = "GET", at: str = "", **headers: str) -> str:
        request = urllib.request.Request(f"http://{at or self.node.api}{path}", headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = f"{answer.headers}\n{answer.read().decode()}"
        except urllib.error.HTTPError as error:
            with error:
                text = f"{error.code} {error.headers}\n{error.read().decode()}"
        self.said[f"api {name}"] = text.encode()
        return text

    def run(self, *arguments: str, told: bool = True) -> str:
        """Run a command; unless `told` is false, what it prints is looked at later."""
        ran = self.node.run_command(*arguments)
        assert "Traceback" not in ran.stderr, ran.stderr
        if told:
            self.said[f"command {' '.join(arguments)} ({len(self.said)})"] = f"{ran.stdout}\n{ran.stderr}".encode()
        return ran.stdout

    def run_all(self, *commands: tuple[str, ...]) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda arguments: self.run(*arguments), commands))

    def take_files(self, when: str) -> None:
        """The bytes of every file that the node made."""
        for path in sorted(self.node.home.rglob("*")):
            if path.is_file() and path.name not in _HOLDERS and "__pycache__" not in path.parts:
                self.said[f"file {path.relative_to(self.node.home)} {when}"] = path.read_bytes()

    def take_entries(self) -> None:
        with Store(self.node.home / "log.db", readonly=True) as store:
            rows = [row for state in store.logs() for row in store.each(state.log)]
        assert all(isinstance(row, Entry) for row in rows)
        self.said["decoded entries"] = "\n".join(map(repr, rows)).encode()


class _Words(dict[str, Any]):
    """Fills a template: a word that is not known is a new secret."""

    def __missing__(self, place: str) -> str:
        self[place] = planted(place)
        return self[place]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Scene]:
    """A node that has done everything once, and has ended."""
    home = tmp_path_factory.mktemp("secrets") / "node"
    words = _Words(directory=home, first=_FIRST_LINE)
    received: list[str] = []
    elsewhere = "http://{redirectuser}:{redirectpassword}@127.0.0.1:{{port}}/landing?token={redirectquery}"
    echo = type("Echo", (_Echo,), {"received": received, "elsewhere": elsewhere.format_map(words)})
    tcp_echo = type("TcpEcho", (_TcpEcho,), {"received": received})
    turn_echo = type("Turn", (TurnEcho,), {"received": received, "password": words["turnpasswordfile"]})
    mqtt_echo = type("Mqtt", (MqttEcho,), {"received": received})
    context = make_authority(tmp_path_factory.mktemp("ca")).server(words["certificate"])
    with (
        serving(ThreadingHTTPServer(("127.0.0.1", 0), echo)) as web,
        serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), tcp_echo)) as tcp,
        serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), turn_echo)) as turn,
        serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), mqtt_echo)) as mqtt,
        HttpsServer(context) as https,
    ):
        words |= {"turn": turn, "mqtt": mqtt, "public": free_port()}
        words |= {"web": web, "tcp": tcp, "https": https.url.rpartition(":")[2]}
        node = NodeProcess(home, "nas", _CONFIG.format_map(words))
        node.environment |= {f"ZQ_{name.upper()}": words[f"env{name}"] for name in _ENVIRONMENT}
        node.environment["PYTHONPATH"] = os.pathsep.join([str(home), *filter(None, sys.path)])
        (home / "password").write_text(words["passwordfile"] + "\n")
        (home / "turn.password").write_text(words["turnpasswordfile"] + "\n")
        (home / "mqtt.password").write_text(words["mqttpasswordfile"] + "\n")
        (home / "body").write_text(words["bodyfile"])
        (home / "api.token").write_text(words["tokenofthefile"] + "\n")
        (home / "alerts.token").write_text(words["alerttoken"] + "\n")
        (home / "answers.py").write_text(_PLUGIN.format_map(words))
        (home / "command.sh").write_text(_COMMAND.format_map(words))
        (home / "command.sh").chmod(0o755)
        with node:
            yield _played(node, words, received)


def _played(node: NodeProcess, words: _Words, received: list[str]) -> _Scene:
    good = (node.home / "demesh.toml").read_text()
    node.start("-vv")
    node.wait_ready()
    scene = _Scene(node, words, received)
    _note_keys(scene)
    names = re.findall(r'^name = "(.*)"', good, re.MULTILINE)
    eventually(node.status, lambda said: _settled(said, names), 30, "every check but one is down or unknown")
    token = scene.run("token", "new", "--name", "remote", told=False).strip()
    scene.keys["token"] = token.encode()
    _ask_everything(scene, token)
    scene.run_all(
        *((*command, *form) for command in _COMMANDS for form in ((), ("--json",))),
        ("log", "export"),
        ("log", "export", "--format", "cbor", "-o", str(node.home / "export.cbor")),
        ("status", "--node", f"http://{node.api}", "--token", token),
        ("status", "--node", f"http://{node.api}", "--token", words["wrongtoken"]),
        ("node", "run", "--listen", "127.0.0.1:0", "--api", "none", f"http://a:{words['password']}@[b/"),
        *(("check", "test", name, "--json") for name in names),
        *(("check", "test", name) for name in ("echo", "tcp", "nagios", "output", "turn", "mqtt", "mqtt 5")),
        *(("check", "run", name) for name in ("turn", "mqtt")),
        (
            "check",
            "test",
            f"http://a:{words['password']}@127.0.0.1:9/?token={words['query']}",
            "--header",
            words["header"],
        ),
        ("check", "set", "echo", f"password={words['password']}", f"proxy={words['proxypassword']}"),
        ("check", "add", "more", f"htp://a:{words['password']}@b/?{words['query']}"),
    )
    for bad in (_BAD, _NOT_TOML):
        before = node.output().count("The configuration is bad")
        (node.home / "demesh.toml").write_text(bad.format_map(words))
        node.send(signal.SIGHUP)
        eventually(
            node.output, lambda said, least=before: said.count("The configuration is bad") > least, 20, "a refusal"
        )
        scene.ask(
            f"reload {len(scene.said)}", "/api/v1/reload", "POST", Authorization=f"Bearer {words['tokenofthefile']}"
        )
        scene.run_all(
            ("check", "list"),
            ("check", "list", "--json"),
            ("check", "validate"),
            ("check", "validate", "--json"),
            ("doctor",),
        )
    (node.home / "demesh.toml").write_text(good.replace(words["header"], words["changedheader"]))
    scene.ask("reload of a good one", "/api/v1/reload", "POST", Authorization=f"Bearer {words['tokenofthefile']}")
    eventually(lambda: received, lambda said: words["changedheader"] in "".join(said), 20, "the changed header")
    scene.take_files("while it ran")
    assert node.stop() == 0
    scene.run_all(("status",), ("log", "tail", "-n", "1000", "--json"), ("doctor", "--json"))
    scene.take_files("at the end")
    scene.take_entries()
    scene.said["standard error and output"] = (node.home / "output").read_bytes()
    return scene


_COMMANDS = (
    ("status",),
    ("doctor",),
    ("check", "list"),
    ("check", "validate"),
    ("log", "heads"),
    ("log", "tail", "-n", "1000"),
    ("log", "verify"),
    ("token", "list"),
)


def _settled(status: dict[str, Any], names: list[str]) -> bool:
    states = {check["name"]: check["state"] for check in status["checks"]}
    ran = [name for name in names if any(each["at"] for each in _vantages(status, name))]
    return len(ran) == len(names) == len(states) and states["up"] == "up" and _grouped(status)


def _grouped(status: dict[str, Any]) -> bool:
    """All that fail are told of in one incident, as they may have one reason."""
    down = {check["name"] for check in status["checks"] if check["state"] == "down"}
    (told, *more) = [each["annotations"]["description"] for each in status["incidents"]] or [""]
    return len(down) >= 8 and not more and down == set(told.partition(". ")[0].split(", "))


def _vantages(status: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return next((check["vantages"] for check in status["checks"] if check["name"] == name), [])


def _note_keys(scene: _Scene) -> None:
    """The node's own secrets: their files hold them in hex."""
    for name, line in (("node.key", 0), ("swarm.key", 2)):
        scene.keys[name] = bytes.fromhex((scene.node.home / name).read_text().splitlines()[line])


def _ask_everything(scene: _Scene, token: str) -> None:
    for path in ("/metrics", "/api/v1/status", "/api/v1/log/heads", "/openapi.json", "/healthz"):
        scene.ask(path, path)
        scene.ask(f"{path} with a token", path, Authorization=f"Bearer {token}")
    secret = scene.words["query"]
    scene.ask("nothing", f"/{secret}?token={secret}", Authorization=f"Bearer {secret}")
    scene.ask("from elsewhere", f"/metrics?token={secret}", **{"X-Forwarded-For": "192.0.2.1", "Authorization": secret})
    scene.ask("another host", "/metrics", Host=secret)
    scene.ask("another method", "/metrics", "POST", Cookie=secret)
    public = f"127.0.0.1:{scene.words['public']}"
    for path in ("/", "/servers", "/api/v1/servers", "/badge/turn.svg", "/badge/mqtt.svg", f"/{secret}?token={secret}"):
        scene.ask(f"strangers {path}", path, at=public, Authorization=f"Bearer {token}", Cookie=secret)


def test_the_secrets_were_used(scene: _Scene) -> None:
    """What was planted reached those it was meant for, and what could tell of it was said."""
    arrived = found(scene.secrets, "\n".join(scene.received).encode())
    assert {"query", "header", "body", "bodyfile", "tcpsend", "envpath", "envheader", "changedheader"} <= set(arrived)
    assert {
        "user",
        "password",
        "login",
        "passwordfile",
        "proxyuser",
        "redirectquery",
        "envalerts",
        "alerttoken",
    } <= set(arrived)
    assert {"turnuser", "turnpasswordfile", "mqttuser", "mqttpasswordfile", "mqttpassword"} <= set(arrived)
    told = json.loads(scene.said["api /api/v1/status"].decode().partition("\n\n")[2])
    details = {name: _vantages(told, name)[0]["detail"] for name in ("turn", "mqtt", "mqtt 5")}
    assert details["turn"].startswith("the server answers with error 486")
    assert all(details.values())
    assert ">turn</th>" in scene.said["api strangers /"].decode()
    output = scene.said["standard error and output"].decode()
    for sentence in (
        "Alerts do not reach",
        "The configuration is bad",
        "The configuration was taken up",
        "Incident opened",
    ):
        assert sentence in output
    assert "Traceback" not in output
    assert len(scene.secrets) > 40


def test_what_is_told_on_purpose_is_found_where_secrets_are_looked_for(scene: _Scene) -> None:
    told = {"first line": _FIRST_LINE.encode()}
    places = [place for place, text in scene.said.items() if found(told, text)]
    for expected in ("api /api/v1/status", "command log tail -n 1000 --json", "command log export", "decoded entries"):
        assert any(place.startswith(expected) for place in places), expected
    assert any(place.startswith("file log.db") for place in places)
    assert "file export.cbor at the end" in places


def test_no_planted_secret_is_told(scene: _Scene) -> None:
    leaks = {place: names for place, text in scene.said.items() if (names := found(scene.secrets, text))}
    assert not leaks, "\n".join(f"{place}: {names}" for place, names in leaks.items())
