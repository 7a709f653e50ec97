"""deploy/swarm refuses what cannot work before anything is deployed, and says so when what it deployed does not."""

from pathlib import Path

import pytest

from tests.deploy.scripted import Swarm

pytestmark = pytest.mark.slow


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


def test_checks_that_a_node_would_refuse_are_refused_with_their_mistakes(swarm: Swarm, tmp_path: Path) -> None:
    swarm.up()
    secrets, configs = swarm.secrets(), swarm.configs()
    own = tmp_path / "bad.toml"
    own.write_text('[[check]]\nname = "web"\ntarget = "http://example.net"\nintervall = "1s"\n')
    said = swarm.refuses(DEMESH_CHECKS=str(own))
    assert "checks/stack.toml" in said
    assert "intervall" in said
    assert f"Nothing was deployed. The files named there are {swarm.checkout}/deploy/demesh.toml" in said
    assert str(own) in said
    own.write_text("[alerts]\ntoken_file = '/run/secrets/other'\n")
    assert "/run/secrets/other" in swarm.refuses(DEMESH_TOML=str(own))
    assert (swarm.secrets(), swarm.configs()) == (secrets, configs)


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ("updating\nrollback_started\nrollback_completed", "An update has failed, and what ran before runs again"),
        ("updating\nrollback_started\nrollback_paused", "An update has failed, and stopped where it was"),
        ("updating\npaused", "An update has failed, and stopped where it was"),
    ],
)
def test_an_update_that_failed_is_told_and_what_it_replaced_stays(swarm: Swarm, states: str, sentence: str) -> None:
    first = swarm.up()
    (swarm.checkout / "deploy/checks.toml").write_text("# none\n")
    swarm.say(updates=states)
    ran = swarm.run("up")
    assert ran.returncode == 1
    assert f"{sentence}: docker service ps --no-trunc demesh_demesh says why." in ran.stderr
    assert "Deployed" not in ran.stdout
    assert f"demesh_DEMESH_CHECKS_{first['DEMESH_CHECKS_VERSION']}" in swarm.configs()


@pytest.mark.parametrize(
    "services",
    [
        {"updates": "updating\nupdating\ncompleted"},
        {"replicas": "0/1\n0/1\n0/1\n1/1"},  # the first is asked for the number of tasks
        {"updates": "", "tasks": "what was deployed before\nwhat was deployed before\nwhat is deployed"},
    ],
)
def test_up_ends_when_all_tasks_are_what_was_deployed(swarm: Swarm, services: dict[str, str]) -> None:
    swarm.say(**services)
    ran = swarm.run("up")
    assert (ran.returncode, "Deployed." in ran.stdout) == (0, True)
    for name, lines in services.items():
        assert (swarm.state / name).read_text() == lines.rpartition("\n")[2], "it has looked until then"
    swarm.say(**{name: lines.partition("\n")[0] for name, lines in services.items() if lines})
    ran = swarm.run("up", DEMESH_WAIT_SECONDS="0")
    assert (ran.returncode, "Deployed." in ran.stdout) == (1, False)
    assert "Not all of it runs yet" in ran.stderr


@pytest.mark.parametrize("lost", [True, False])
def test_without_the_key_of_a_mesh_that_is_there_no_other_is_made(swarm: Swarm, tmp_path: Path, lost: bool) -> None:
    swarm.up()
    secrets = swarm.secrets()
    (swarm.state / "volume/demesh_keys/swarm.key").unlink()
    if not lost:  # the services are gone, and the volumes of the nodes are there
        assert swarm.run("down").returncode == 0
        (swarm.state / "volume/demesh_data_1").mkdir()
    said = swarm.refuses()
    assert "the volume demesh_keys of this machine has no swarm key" in said
    assert "cat /run/secrets/swarm_key >~/swarm.key" in said
    assert "DEMESH_SWARM_KEY_FILE=~/swarm.key deploy/swarm up" in said
    key = tmp_path / "swarm.key"
    key.write_bytes(next(each for name, each in secrets.items() if "swarm_key" in name))
    swarm.up(DEMESH_SWARM_KEY_FILE=str(key))
    assert swarm.secrets().items() >= {name: each for name, each in secrets.items() if "swarm_key" in name}.items()


@pytest.mark.parametrize("subnet", ["10.84.71.0/25", "10.84.71.1/24", "10.84.71.0", "fd00::/64", "10.84.71.0/24 "])
def test_a_subnet_that_it_cannot_take_is_refused(swarm: Swarm, subnet: str) -> None:
    assert "write a /24" in swarm.refuses(DEMESH_SUBNET=subnet)


@pytest.mark.parametrize(
    "taken",
    ["10.84.71.0/24", "10.84.0.0/16", "10.84.71.64/26", "10.0.0.0/8", "172.17.0.0/16 10.84.70.0/23", "0.0.0.0/0"],
)
def test_a_subnet_that_another_network_has_is_refused(swarm: Swarm, taken: str) -> None:
    swarm.say(networks=f"bridge 172.17.0.0/16\nother {taken}\nhost\n")
    assert f"the network other has {taken.split()[-1]}" in swarm.refuses()
    assert swarm.asked("build") == []


def test_networks_beside_it_and_its_own_are_no_reason(swarm: Swarm) -> None:
    swarm.say(networks="a 10.84.70.0/24 fd00::/64\nb 10.84.72.0/22\nc 10.85.0.0/16\nhost\ndemesh_mesh 10.84.71.0/24\n")
    swarm.up()
    assert "the network demesh_mesh has 10.84.71.0/24" in swarm.refuses(DEMESH_SUBNET="10.90.0.0/24")


@pytest.mark.parametrize("name", ["Demesh", "-x", "a b", "x" * 31, "a.b", "a\nb"])
def test_a_name_that_no_stack_can_have_is_refused_before_the_build(swarm: Swarm, name: str) -> None:
    assert "cannot be a stack's name" in swarm.refuses(DEMESH_STACK=name)
    assert swarm.asked("build") == []


def test_down_of_a_stack_that_is_not_there_says_so(swarm: Swarm) -> None:
    ran = swarm.run("down")
    assert (ran.returncode, ran.stdout) == (0, "There is no stack demesh here.\n")
    assert swarm.asked("stack", "rm") == []
