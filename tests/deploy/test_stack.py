"""The stack's files fit each other, the script, the image and demesh. What an engine makes of them is another test."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from demesh.config.load import load
from tests.e2e.harness import require

ROOT = Path(__file__).parents[2]
_DEPLOY = ROOT / "deploy"
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((_DEPLOY / name).read_text())


STACK = _read("stack.yml")
_FILES = ("stack.yml", "stack.replicas.yml", "stack.ports.yml", "stack.secret.yml")


def test_clients_old_and_new_read_the_files_alike() -> None:
    """Those before Docker 25 want a version; and newer ones sort mounts where files are merged, which must be no change."""
    assert {_read(name)["version"] for name in _FILES} == {"3.8"}
    targets = [each.partition(":")[2] for each in STACK["services"]["demesh"]["volumes"]]
    assert targets == sorted(targets)


def test_a_node_has_its_machines_name_and_the_time_to_say_bye_and_its_secrets_are_its_alone() -> None:
    demesh, replicas = STACK["services"]["demesh"], _read("stack.replicas.yml")["services"]["demesh"]
    assert demesh["environment"]["DEMESH_NODE_NAME"] == demesh["hostname"] == "{{.Node.Hostname}}"
    assert replicas["environment"]["DEMESH_NODE_NAME"] == replicas["hostname"] == "{{.Node.Hostname}}-{{.Task.Slot}}"
    assert demesh["init"] is True
    assert demesh["stop_grace_period"] == "20s", "as systemd gives it"
    assert {(each["uid"], each["gid"], each["mode"]) for each in demesh["secrets"]} == {("8471", "8471", 0o400)}


def test_what_has_a_volume_and_is_one_task_is_kept_to_one_machine() -> None:
    for name in ("alertmanager", "prometheus", "grafana"):
        assert STACK["services"][name]["deploy"]["placement"] == {
            "constraints": ["${DEMESH_PLACE:-node.role == manager}"]
        }, name
        assert STACK["services"][name]["volumes"]


def test_every_image_is_a_variable() -> None:
    assert {
        name: bool(_VARIABLE.fullmatch(each["image"])) for name, each in STACK["services"].items()
    } == dict.fromkeys(("demesh", "alertmanager", "prometheus", "karma", "grafana"), True)


def test_every_variable_has_a_default_so_that_the_file_can_be_deployed_by_itself() -> None:
    for name in _FILES:
        text = re.sub(r"(?m)^\s*#.*", "", (_DEPLOY / name).read_text())
        assert [variable for variable, default in _VARIABLE.findall(text) if not default] == []


def test_what_cannot_be_changed_is_named_with_a_version_that_the_script_sets() -> None:
    script = "".join((_DEPLOY / name).read_text() for name in ("swarm", "keys.sh"))
    configured = set(re.findall(r"(?m)^    configure ([A-Z_]+) ", script))
    for config in STACK["configs"].values():
        (_, _), (version, _) = _VARIABLE.findall(config["name"])
        ((file, _),) = _VARIABLE.findall(config["file"])
        assert version == f"{file}_VERSION"
        assert file in configured
        configured.remove(file)
    assert configured == set()
    for name, secret in (STACK["secrets"] | _read("stack.secret.yml")["secrets"]).items():
        assert secret["external"] is True
        assert f"read -r {name.upper()}_VERSION" in script
        assert f'keep_secret "{name}_$' in script


def test_what_is_defined_is_used_and_what_is_used_is_defined() -> None:
    for kind in ("configs", "secrets", "volumes", "networks"):
        used = [each for service in STACK["services"].values() for each in service.get(kind, [])]
        names = {each["source"] if isinstance(each, dict) else each.partition(":")[0] for each in used}
        assert names == set(STACK[kind]), kind


def test_only_the_meshs_own_port_is_published_and_on_the_machine_itself() -> None:
    published = {name: each["ports"] for name, each in STACK["services"].items() if "ports" in each}
    assert [(name, port["target"], port["mode"]) for name, ports in published.items() for port in ports] == [
        ("demesh", 8471, "host")
    ]
    assert "demesh" not in _read("stack.ports.yml")["services"]


def test_no_two_tasks_ever_write_one_log() -> None:
    deploy = STACK["services"]["demesh"]["deploy"]
    assert (deploy["mode"], deploy["update_config"]["order"], deploy["update_config"]["parallelism"]) == (
        "global",
        "stop-first",
        1,
    )
    assert deploy["rollback_config"]["order"] == "stop-first"
    assert {each["deploy"]["update_config"]["failure_action"] for each in STACK["services"].values()} == {"rollback"}
    for volume in _read("stack.replicas.yml")["volumes"].values():
        assert "{{.Task.Slot}}" in volume["name"]
    assert _read("stack.replicas.yml")["volumes"].keys() == {"data", "run"}


def test_a_node_takes_the_configuration_of_the_stack(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    shutil.copy(_DEPLOY / "checks.toml", tmp_path / "checks/stack.toml")
    text = (_DEPLOY / "demesh.toml").read_text().replace("/run/secrets/", f"{tmp_path}/")
    (tmp_path / "demesh.toml").write_text(text)
    for token in ("api_read_token", "api_write_token", "swarm_key"):
        (tmp_path / token).write_text("0123456789abcdef0123456789abcdef\n")
    environment = STACK["services"]["demesh"]["environment"]
    found = load(tmp_path / "demesh.toml", {**environment, "DEMESH_NODE_NAME": "fra"})
    assert found.problems == []
    assert found.settings
    assert (found.settings.name, found.settings.watchdog) == ("fra", True)
    (peer,) = found.settings.peers
    assert (peer.every, peer.host, peer.port) == (True, "tasks.demesh", 8471)
    secrets = {each["source"] for each in STACK["services"]["demesh"]["secrets"]}
    assert {
        Path(each).name for each in re.findall(r'"(/run/secrets/[^"]*)"', (_DEPLOY / "demesh.toml").read_text())
    } == secrets


def test_docker_takes_the_files_together(tmp_path: Path) -> None:
    if not shutil.which("docker") or b"config " not in subprocess.check_output(["docker", "stack", "--help"]):
        pytest.skip("no client of Docker here has `docker stack config` (28.2 does, 20.10 does not)")
    command = ["docker", "stack", "config"]
    for name in _FILES:
        command += ["-c", str(_DEPLOY / name)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    services = yaml.safe_load(ran.stdout)["services"]
    assert services["demesh"]["deploy"]["mode"] == "replicated"
    assert services["demesh"]["deploy"]["replicas"] == 3
    assert [port["target"] for port in services["demesh"]["ports"]] == [8471]
    assert [port["target"] for port in services["grafana"]["ports"]] == [3000]


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", text))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


DOCKERFILE = _instructions((_DEPLOY / "Dockerfile").read_text())


def test_the_image_runs_as_nobody_in_particular_and_says_bye() -> None:
    last = max(index for index, (word, _) in enumerate(DOCKERFILE) if word == "FROM")
    final = DOCKERFILE[last:]
    told = dict(final)
    assert told["USER"] == "8471:8471"
    assert told["STOPSIGNAL"] == "SIGTERM"
    assert told["VOLUME"] == "/var/lib/demesh"
    assert "DEMESH_HOME=/var/lib/demesh" in told["ENV"]
    assert (json.loads(told["ENTRYPOINT"]), json.loads(told["CMD"])) == (["demesh"], ["node", "run"])
    assert json.loads(told["HEALTHCHECK"].partition("CMD ")[2])[1:] == ["-m", "demesh.healthy"]
    assert [word for word, rest in final if word == "RUN" and ("apt" in rest or "pip" in rest)] == []


def test_the_image_is_made_of_what_is_named_and_of_no_key() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in DOCKERFILE if word == "COPY" and "--from" not in rest]
    assert {name for names in copied for name in names} == let_in
    assert "**/*.key" in ignored


@pytest.mark.parametrize("name", ["swarm", "slim"])
def test_the_scripts_are_good_shell(name: str) -> None:
    _shellcheck((_DEPLOY / name).read_text(), ROOT)


@pytest.mark.parametrize("name", ["Dockerfile", "standins/Dockerfile"])
def test_the_commands_of_the_images_are_good_shell(name: str) -> None:
    commands = [rest for word, rest in _instructions((_DEPLOY / name).read_text()) if word == "RUN"]
    assert commands
    for command in commands:
        _shellcheck(f"#!/bin/sh\n{command}\n")


def _shellcheck(text: str, sources: Path = Path()) -> None:
    # SC2016: what stands in single quotes is for the shell in a container. -x: with the files that it sources.
    command = [require("shellcheck"), "-x", "-e", "SC2016", "-"]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60, cwd=sources)
    assert ran.returncode == 0, ran.stdout
