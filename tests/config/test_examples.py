"""Configurations that users would write, those of the documentation among them: they load, given their secrets, and say what
has no effect yet."""

import re
import shutil
from pathlib import Path

import pytest

from demesh.config.load import Settings, load
from demesh.probes.base import TurnOptions

_EXAMPLES = Path(__file__).parent / "examples"
_LISTS = Path(__file__).parents[2] / "server_lists"
_ROOT = Path(__file__).parents[2]
_DOCUMENTED = [
    pytest.param(example, id=f"{page.name}-{number}")
    for page in (_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md")))
    for number, example in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1)
]
_SECRETS = {
    "am.token": "t",
    "api.token": "t",
    "broker.password": "p",
    "ntfy.url": "ntfy://ntfy.sh/topic",
    "phone.url": "ntfy://a",
    "turn.password": "p",
}


def _load(directory: Path, name: str) -> Settings:
    path = directory / name
    shutil.copy(_EXAMPLES / name, path)
    shutil.copytree(_LISTS, directory / "server_lists")
    for secret, text in _SECRETS.items():
        (directory / secret).write_text(text)
    found = load(path, {"SHOP_TOKEN": "sesame"})
    assert found.problems == []
    assert found.settings
    return found.settings


def test_a_company(tmp_path: Path) -> None:
    found = _load(tmp_path, "company.toml")
    assert (found.name, found.tags, found.api) == ("fra1", ("eu", "web"), ("0.0.0.0", 8470))
    assert found.alertmanagers == ("https://am1.example.com:9093", "https://am2.example.com:9093")
    assert found.alert_labels == (("env", "prod"),)
    assert (found.alert_token_file, found.api_token_file) == (tmp_path / "am.token", tmp_path / "api.token")
    lb, shop = found.checks
    assert (lb.name, lb.probe.type, lb.interval_ms) == ("lb", "tcp", 30_000)
    assert (shop.severity, shop.nodes, shop.labels) == ("critical", ("tag:eu", "tag:us"), (("team", "web"),))


def test_a_home(tmp_path: Path) -> None:
    found = _load(tmp_path, "homelab.toml")
    assert [(each.name, each.probe.type) for each in found.checks] == [
        ("blog", "http"),
        ("router", "ping"),
        ("disk", "command"),
    ]
    assert [sink.name for sink in found.sinks] == ["ntfy://…"]


def test_a_keeper_of_lists(tmp_path: Path) -> None:
    found = _load(tmp_path, "keeper.toml")
    turn, *listed = found.checks
    assert (turn.probe.type, turn.probe.target) == ("turn", "turn://turn.example.org:3478")
    assert turn.own_login
    assert isinstance(turn.probe.options, TurnOptions)
    assert turn.probe.options.relay
    assert {(each.probe.type, each.spread, each.notify, each.listed) for each in listed} == {("stun", 3, False, True)}
    assert found.public_listen == ("0.0.0.0", 8480)


@pytest.mark.parametrize("name", [path.name for path in _EXAMPLES.glob("*.toml")])
def test_without_its_secrets_each_names_what_is_missing(name: str, tmp_path: Path) -> None:
    shutil.copy(_EXAMPLES / name, tmp_path)
    shutil.copytree(_LISTS, tmp_path / "server_lists")
    problems = load(tmp_path / name, {}).problems
    missing = {"company.toml": 3, "homelab.toml": 1, "keeper.toml": 1}
    assert len(problems) == missing[name]
    assert all("cannot be read: No such file" in each or "SHOP_TOKEN is not set" in each for each in problems)


@pytest.mark.parametrize("example", _DOCUMENTED)
def test_what_the_documentation_shows_loads(example: str, tmp_path: Path) -> None:
    for secret, text in {**_SECRETS, "api.token": "0123456789abcdef"}.items():
        (tmp_path / secret).write_text(text)
    (tmp_path / "demesh.toml").write_text(example)
    shutil.copytree(_LISTS, tmp_path / "server_lists")
    found = load(tmp_path / "demesh.toml", {})
    assert found.problems == []
    assert found.settings
    written = [each for each in found.settings.checks if not each.listed]
    assert len(written) == example.count("[[check]]")


def test_no_table_of_the_documentation_stands_outside_such_an_example() -> None:
    """They are indented elsewhere, where nothing would try them; but for what commands write (tests/e2e/test_first_hour.py)."""
    assert len(_DOCUMENTED) >= 4
    for page in (_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")):
        text = re.sub(r"^ *```sh$.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^ +\[\[?\w+\]\]?$", text, re.MULTILINE), page


@pytest.mark.parametrize(("key", "type_"), [('command = ["x"]', "command"), ('entry = "a:b"', "python")])
def test_the_type_follows_from_what_only_it_has(key: str, type_: str, tmp_path: Path) -> None:
    path = tmp_path / "demesh.toml"
    path.write_text(f'[[check]]\nname = "a"\n{key}\n')
    found = load(path, {}).settings
    assert found
    assert [check.probe.type for check in found.checks] == [type_]
    path.write_text(f'[[check]]\nname = "a"\ntype = "{type_}"\n{key}\n')
    same = load(path, {}).settings
    assert same
    assert found.checks == same.checks
