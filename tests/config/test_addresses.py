"""`addresses`: which checks can ask each address of a name, and what others are told of it."""

from pathlib import Path

import pytest

from demesh.config.adopt import check_of, rebuild
from demesh.config.check_tables import TABLES
from demesh.config.load import load
from demesh.errors import UsageError
from tests.config.files import check, written

MESH = bytes(16)
_WITH_A_NAME = (
    "http://a",
    "tcp://a:1",
    "tls://a:1",
    "dns://a/b",
    "ping://a",
    "stun://a",
    "turn://a",
    "mqtt://a",
    "ntp://a",
)


@pytest.mark.parametrize("target", _WITH_A_NAME)
def test_whoever_is_told_of_it_asks_each_address_too_and_it_is_another_definition(target: str, tmp_path: Path) -> None:
    one = check(tmp_path, f"target = '{target}'")
    every = check(tmp_path, f"target = '{target}'\naddresses = 'all'")
    assert (one.probe.all_addresses, every.probe.all_addresses) == (False, True)
    row = every.row(MESH, True)
    assert row.whole
    assert row.definition != one.row(MESH, True).definition
    assert rebuild(row, MESH).probe == every.probe


def test_first_is_what_a_check_does_anyway(tmp_path: Path) -> None:
    said, silent = (check(tmp_path, f"target = 'http://a'\n{key}") for key in ("addresses = 'first'", ""))
    assert said.row(MESH, True) == silent.row(MESH, True), "nodes of a version without the key check the same"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target = 'dns:///a'", "addresses: needs a target with a host name"),
        ("target = 'tcp://192.0.2.1:1'", "addresses: needs a target with a host name: an address is the only one"),
        ("target = 'http://[2001:db8::1]/'", "addresses: needs a target with a host name: an address is the only one"),
        ("target = 'http://a'\nproxy = 'http://b:1'", "addresses: with a proxy it is the proxy that looks the name up"),
        ("command = ['/bin/true']", "addresses"),
        ("entry = 'a.b:c'", "addresses"),
    ],
)
def test_what_has_no_name_to_look_up_cannot_be_asked_so(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, main=f'[[check]]\nname = "a"\naddresses = "all"\n{text}\n')
    (problem,) = load(path, {}).problems
    assert said in problem


def test_another_value_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, main='[[check]]\nname = "a"\naddresses = "some"\ntarget = "http://a"\n')
    (problem,) = load(path, {}).problems
    assert "addresses" in problem
    assert "'first'" in problem


def test_nobody_is_made_to_ask_each_address_of_what_has_no_name() -> None:
    with pytest.raises(UsageError):
        check_of({"name": "a", "target": "tcp://192.0.2.1:1", "addresses": "all"})


def test_no_type_that_looks_names_up_is_left_out() -> None:
    assert {each.partition(":")[0] for each in _WITH_A_NAME} == TABLES.keys() - {"command", "python"}
