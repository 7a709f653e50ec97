"""A node with all its libraries lives under the rules of its unit."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import make_authority
from tests.e2e.harness import HttpsServer, NodeProcess, WebServer, cannot_run, eventually, require

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_CONFINED = ("/usr/bin/python3", str(Path(__file__).with_name("confined.py")))
_CONFIG = """
[node]
flush_interval = "1s"
[defaults]
interval = "1s"
[alerts]
alertmanager = "{web}"
[[check]]
name = "http"
target = "{web}"
[[check]]
name = "https"
target = "{https}"
ca_file = "{ca}"
[[check]]
name = "tls"
target = "{tls}"
ca_file = "{ca}"
[[check]]
name = "ping"
target = "ping://127.0.0.1"
[[check]]
name = "command"
command = ["sh", "-c", "exec sleep 0.01"]
[[check]]
name = "function"
entry = "plain:check"
[[check]]
name = "down"
target = "tcp://localhost:9"
"""


@pytest.fixture
def confined() -> tuple[str, ...]:
    require("systemd-analyze")
    looked = subprocess.run(["/usr/bin/python3", "-c", "import seccomp"], capture_output=True, check=False)
    return _CONFINED if looked.returncode == 0 else cannot_run("python3-seccomp is not installed")


def _fails_with(confined: tuple[str, ...], program: str) -> str:
    ran = subprocess.run([*confined, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return ran.stderr.splitlines()[-1] if ran.returncode else ""


def test_the_rules_hold(confined: tuple[str, ...]) -> None:
    assert _fails_with(confined, "pass") == ""
    assert "PermissionError" in _fails_with(
        confined, "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    )
    assert "Address family not supported" in _fails_with(confined, "import socket; socket.socket(socket.AF_PACKET)")
    assert "PermissionError" in _fails_with(confined, "import os; os.chroot('/')")


def test_a_node_does_all_that_it_does_under_them(confined: tuple[str, ...], tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    with WebServer() as web, HttpsServer(authority.server("127.0.0.1")) as https:
        config = _CONFIG.format(
            web=web.url, https=https.url, tls=https.url.replace("https", "tls"), ca=authority.ca_file
        )
        with NodeProcess(tmp_path / "node", "nas", config) as node, NodeProcess(tmp_path / "peer", "peer") as peer:
            (node.home / "plain.py").write_text(
                "from demesh.plugin import Answer\nasync def check(arguments, timeout_seconds):\n    return Answer('pass')\n"
            )
            node.environment["PYTHONPATH"] = f"{node.home}:{Path(__file__).parents[2]}"
            node.inside = confined
            node.start()
            node.wait_ready()
            (peer.home / "swarm.key").write_bytes((node.home / "swarm.key").read_bytes())
            peer.start("--peer", node.swarm)
            up = {"http", "https", "tls", "ping", "command", "function"}
            eventually(
                lambda: {each["name"]: each["state"] for each in peer.status()["checks"]},
                lambda states: states == dict.fromkeys(up, "up") | {"down": "down"},
                60,
                "all that the node finds, at its peer",
            )
            eventually(lambda: len(web.posted), bool, 20, "an alert")
            assert node.stop() == 0
            assert "Permission" not in node.output()
            assert "not permitted" not in node.output()
