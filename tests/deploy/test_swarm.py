"""deploy/swarm asks an engine for the same each time, makes each secret once, and tells nobody any of them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from demesh.identity import new_swarm_key
from tests.deploy.scripted import Swarm

pytestmark = pytest.mark.slow
_SECRETS = ("swarm_key", "api_read_token", "api_write_token", "grafana_password")


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


def test_what_changes_gets_a_new_name_and_the_old_one_goes_when_no_rollback_needs_it(swarm: Swarm) -> None:
    first = swarm.up()
    with (swarm.checkout / "deploy/checks.toml").open("a") as file:
        file.write("# more\n")
    (swarm.checkout / "demesh/node.py").write_text("# more\n")
    second = swarm.up()
    changed = {name for name in first if first[name] != second[name] and not first[name].startswith("/tmp")}
    assert changed == {"DEMESH_CHECKS_VERSION", "DEMESH_IMAGE"}
    both = {f"demesh_DEMESH_CHECKS_{each['DEMESH_CHECKS_VERSION']}" for each in (first, second)}
    assert both <= swarm.configs()
    swarm.up()
    assert both & swarm.configs() == {f"demesh_DEMESH_CHECKS_{second['DEMESH_CHECKS_VERSION']}"}


def test_the_key_of_a_mesh_that_is_there_is_taken(swarm: Swarm, tmp_path: Path) -> None:
    swarm.up()
    given = tmp_path / "given.key"
    given.write_text(new_swarm_key().text())
    swarm.up(DEMESH_SWARM_KEY_FILE=str(given))
    swarm.up()
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


def test_the_image_is_built_once_for_what_goes_into_it(swarm: Swarm) -> None:
    first = swarm.up()["DEMESH_IMAGE"]
    assert swarm.up()["DEMESH_IMAGE"] == first
    (swarm.checkout / "demesh/node.pyc").touch()  # what is not let in changes nothing
    (swarm.checkout / "README.md").touch()
    assert swarm.up()["DEMESH_IMAGE"] == first
    assert len(swarm.asked("build")) == 1
    only_build = {"DEMESH_SWARM_KEY_FILE": "/nowhere"}  # it comes no further than that
    swarm.refuses(**only_build, DEMESH_BASE="my/python")
    swarm.refuses(**only_build, DEMESH_BUILD="--pull")
    for name in ("demesh/node.py", "uv.lock", "deploy/Dockerfile", "deploy/slim", "pyproject.toml", "bin/uv.txt"):
        with (swarm.checkout / name).open("a") as file:
            file.write("# more\n")
        swarm.refuses(**only_build)
    built = [each[each.index("-t") + 1] for each in swarm.asked("build")]
    assert len(set(built)) == len(built) == 9


def test_what_has_a_volume_on_one_machine_stays_there(swarm: Swarm) -> None:
    assert swarm.up()["DEMESH_PLACE"] == "node.labels.demesh_volumes == here"
    assert (swarm.state / "label").read_text() == "demesh_volumes=here me"
    assert swarm.up()["DEMESH_PLACE"] == "node.labels.demesh_volumes == here"
    assert len(swarm.asked("node", "update")) == 1, "the machine that was chosen stays"
    assert swarm.up(DEMESH_PLACE="node.id == x")["DEMESH_PLACE"] == "node.id == x"


def test_a_secret_for_the_receivers_is_kept_like_the_others(swarm: Swarm, tmp_path: Path) -> None:
    swarm.up()
    given = tmp_path / "given"
    given.write_text("https://ntfy.example.net/a-secret-topic")
    for environment in ({"ALERTMANAGER_SECRET_FILE": str(given)}, {}):
        swarm.up(**environment)
        assert swarm.deployed("files.json") == ["stack.yml", "stack.secret.yml"]
        assert [each for name, each in swarm.secrets().items() if "alertmanager" in name] == [given.read_bytes()]
    assert "a-secret-topic" not in swarm.said + (swarm.state / "arguments").read_text()
    given.write_text("")
    assert f"{given} cannot be taken as a secret" in swarm.refuses(ALERTMANAGER_SECRET_FILE=str(given))


@pytest.mark.parametrize(
    ("receivers", "told"),
    [
        ("  - name: people\n    # webhook_configs: [{}]\n  - name: demesh\n    webhook_configs: [{}]\n", False),
        ("  - name: people\n    webhook_configs: [{}]\n  - name: demesh\n", True),
        ("  - {name: people, email_configs: [{}]}\n", True),
        ("  - name: mine\n    webhook_configs: [{}]\n", True),
    ],
)
def test_up_says_when_nobody_will_be_told(swarm: Swarm, tmp_path: Path, receivers: str, told: bool) -> None:
    own = tmp_path / "mine.yml"
    own.write_text(f"route: {{receiver: x}}\nreceivers:\n{receivers}")
    assert ("Nobody will be told" in swarm.run("up", ALERTMANAGER_CONFIG=str(own)).stdout) is not told
    assert "Nobody will be told" in swarm.run("up").stdout


def test_status_asks_a_task_that_is_healthy(swarm: Swarm) -> None:
    swarm.up()
    assert swarm.run("status").returncode == 0
    assert swarm.asked("exec") == [["exec", "a-task", "demesh", "status"]]


def test_with_an_older_client_it_is_deployed_without_what_that_does_not_know(swarm: Swarm) -> None:
    swarm.up()
    assert ["--detach=true" in each for each in swarm.told()] == [True]
    swarm.up(FAKE_DOCKER_OLD="1")
    assert ["--detach=true" in each for each in swarm.told()] == [True, False]


def test_what_runs_in_the_image_reaches_nobody_and_leaves_keys_to_their_owner(swarm: Swarm) -> None:
    swarm.up()
    asked = swarm.asked("run")
    assert asked
    assert all(each[each.index("--network") + 1] == "none" for each in asked)
    kept = list((swarm.state / "volume/demesh_keys").iterdir())
    assert {each.name: each.stat().st_mode & 0o777 for each in kept} == dict.fromkeys(
        ("swarm.key", "api_read_token", "api_write_token", "grafana_password"), 0o600
    )
