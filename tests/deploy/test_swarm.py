"""deploy/swarm asks an engine for the same each time, makes each secret once, and tells nobody any of them."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
_SECRETS = ("swarm_key", "api_read_token", "api_write_token", "grafana_password")


class Swarm:
    """The script in a checkout of its own, with a `docker` that only keeps what it is told."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "docker"
        for kind in ("volume", "secret", "config"):
            (self.state / kind).mkdir(parents=True)
        (self.state / "used").touch()
        self.build("1")
        self.checkout = directory / "checkout"
        shutil.copytree(ROOT / "deploy", self.checkout / "deploy")
        programs = directory / "bin"
        programs.mkdir()
        fake = Path(__file__).with_name("fake_docker.py")
        (programs / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} -IS {fake} "$@"\n')
        # What the image has: the command, and `python`.
        (programs / "demesh").write_text(f'#!/bin/sh\nexec {sys.executable} -m demesh "$@"\n')
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

    def build(self, number: str) -> None:
        """From now on the image is another one."""
        (self.state / "image").write_text(hashlib.sha256(number.encode()).hexdigest())

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

    def secrets(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in (self.state / "secret").iterdir()}


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return Swarm(tmp_path)


def test_up_again_changes_nothing(swarm: Swarm) -> None:
    first = swarm.up()
    secrets = swarm.secrets()
    assert {re.sub("_[0-9a-f]{8}$", "", name) for name in secrets} == {f"demesh_{each}" for each in _SECRETS}
    assert len(set(secrets.values())) == len(_SECRETS)
    assert {name: value for name, value in swarm.up().items() if not value.startswith("/")} == {
        name: value for name, value in first.items() if not value.startswith("/")
    }
    assert swarm.secrets() == secrets


def test_down_leaves_the_volumes_and_the_same_members_go_on(swarm: Swarm) -> None:
    swarm.up()
    secrets = swarm.secrets()
    gone = swarm.run("down")
    assert gone.returncode == 0
    assert "demesh_keys" in gone.stdout
    assert "docker volume rm" in gone.stdout
    left = {kind: [each.name for each in (swarm.state / kind).iterdir()] for kind in ("secret", "config", "volume")}
    assert left == {"secret": [], "config": [], "volume": ["demesh_keys"]}
    swarm.up()
    assert swarm.secrets() == secrets


def test_no_secret_is_printed_nor_stands_in_the_arguments_of_a_program(swarm: Swarm) -> None:
    swarm.up()
    swarm.run("status")
    arguments = (swarm.state / "arguments").read_text()
    for name, secret in swarm.secrets().items():
        for line in filter(lambda each: not each.startswith("/"), secret.decode().split()):
            assert len(line) >= 32, name
            assert line not in swarm.said
            assert line not in arguments
    key = next(secret for name, secret in swarm.secrets().items() if "swarm_key" in name)
    assert key.startswith(b"/key/swarm/psk/1.0.0/\n/base16/\n")


def test_what_changes_gets_a_new_name_and_the_old_one_goes(swarm: Swarm) -> None:
    first = swarm.up()
    with (swarm.checkout / "deploy/checks.toml").open("a") as file:
        file.write("# more\n")
    swarm.build("2")
    second = swarm.up()
    changed = {name for name in first if first[name] != second[name] and not first[name].startswith("/tmp")}
    assert changed == {"DEMESH_CHECKS_VERSION", "DEMESH_IMAGE"}
    configs = [each.name for each in (swarm.state / "config").iterdir()]
    assert f"demesh_DEMESH_CHECKS_{second['DEMESH_CHECKS_VERSION']}" in configs
    assert f"demesh_DEMESH_CHECKS_{first['DEMESH_CHECKS_VERSION']}" not in configs


def test_the_key_of_a_mesh_that_is_there_is_taken(swarm: Swarm, tmp_path: Path) -> None:
    swarm.up()
    given = tmp_path / "given.key"
    given.write_text(new_swarm_key().text())
    swarm.up(DEMESH_SWARM_KEY_FILE=str(given))
    assert [each for name, each in swarm.secrets().items() if "swarm_key" in name] == [given.read_bytes()]


def test_a_file_that_is_no_swarm_key_is_refused_and_the_key_stays(swarm: Swarm, tmp_path: Path) -> None:
    swarm.up()
    secrets = swarm.secrets()
    given = tmp_path / "given.key"
    given.write_text("not-a-key-but-secret-too\n")
    refused = swarm.run("up", DEMESH_SWARM_KEY_FILE=str(given))
    assert refused.returncode == 1
    assert f"{given} cannot be taken as the swarm key." in refused.stderr
    assert "secret-too" not in refused.stderr
    swarm.up()
    assert swarm.secrets() == secrets


def test_the_files_beside_it_speak_of_the_stack(swarm: Swarm) -> None:
    swarm.up(DEMESH_SUBNET="10.9.8.0/24")
    for name in ("ALERTMANAGER_CONFIG", "PROMETHEUS_CONFIG", "KARMA_CONFIG", "GRAFANA_SOURCES"):
        in_force = re.sub("#.*", "", swarm.text(name))
        assert "127.0.0.1" not in in_force, name
        assert "example.net" not in in_force, name
        assert not re.search(r"\.token\b", in_force), name
        assert "node=" not in in_force, name
    assert "http://tasks.demesh:8470/hook/alertmanager" in swarm.text("ALERTMANAGER_CONFIG")
    assert "http://tasks.demesh:8470/sd/nodes" in swarm.text("PROMETHEUS_CONFIG")
    assert r"regex: '.*,(10\.9\.8\.[^,]+),.*;(.+)'" in swarm.text("PROMETHEUS_CONFIG")
    assert "[alertname=DemeshWatchdog]" in swarm.text("KARMA_CONFIG")


@pytest.mark.parametrize(("program", "command"), [("amtool", "check-config"), ("promtool", "check config")])
def test_alertmanager_and_prometheus_take_them(swarm: Swarm, program: str, command: str) -> None:
    from tests.e2e.harness import require

    require(program)
    swarm.up()
    name = {"amtool": "ALERTMANAGER_CONFIG", "promtool": "PROMETHEUS_CONFIG"}[program]
    file = swarm.state / "deployed" / name
    secrets = swarm.state / "deployed"
    (secrets / "api_read_token").touch()
    (secrets / "api_write_token").touch()
    file.write_text(file.read_text().replace("/run/secrets/", f"{secrets}/"))
    shutil.copy(secrets / "PROMETHEUS_RULES", secrets / "demesh.rules.yml")
    ran = subprocess.run([program, *command.split(), file], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_files_of_ones_own_are_taken_as_they_are(swarm: Swarm, tmp_path: Path) -> None:
    own = tmp_path / "mine.yml"
    own.write_text("route: {receiver: x}  # nas.example.net:8470\n")
    swarm.up(ALERTMANAGER_CONFIG=str(own))
    assert swarm.text("ALERTMANAGER_CONFIG") == own.read_text()
    refused = swarm.run("up", ALERTMANAGER_CONFIG="/nonexistent")
    assert (refused.returncode, "/nonexistent, which cannot be read" in refused.stderr) == (1, True)


def test_replicas_and_ports_lay_their_files_over_the_stack(swarm: Swarm) -> None:
    swarm.up()
    assert swarm.deployed("files.json") == ["stack.yml"]
    told = swarm.up("--replicas", "5", "--ports")
    assert swarm.deployed("files.json") == ["stack.yml", "stack.replicas.yml", "stack.ports.yml"]
    assert (told["DEMESH_REPLICAS"], told["DEMESH_PORT"]) == ("5", "0")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [("inactive false", "docker swarm init"), ("active false", "run this on a manager")],
)
def test_without_a_swarm_it_says_what_to_do(swarm: Swarm, state: str, sentence: str) -> None:
    refused = swarm.run("up", FAKE_DOCKER_SWARM=state)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert not (swarm.state / "deployed").exists()


@pytest.mark.parametrize(
    "arguments", [(), ("sideways",), ("up", "--replicas"), ("up", "--replicas", "x"), ("down", "now")]
)
def test_a_wrong_use_exits_2(swarm: Swarm, arguments: tuple[str, ...]) -> None:
    assert swarm.run(*arguments).returncode == 2
    assert not (swarm.state / "deployed").exists()
