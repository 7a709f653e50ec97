"""`demesh servers parked` and `demesh servers retry`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answering import node_answering
from tests.cli.harness import Ran, demesh


def _resting(node: str, **changed: Any) -> dict[str, Any]:
    return {
        "node": node,
        "tries": 4,
        "tried_at": "2026-01-01T00:00:00Z",
        "outcome": "timeout",
        "detail": "no answer within 5000 ms",
        **changed,
    }


_TOLD = [
    {
        "name": "stun old.example.net:3478 udp",
        "type": "stun",
        "target": "stun://old.example.net:3478",
        "nodes": [_resting("fra"), _resting("nyc", tries=None, tried_at=None, outcome=None, detail="")],
    }
]


def _ran(home: Path, *arguments: str, told: Any = _TOLD, path: str = "/api/v1/servers/parked") -> Ran:
    with node_answering(home, {path: told}):
        return demesh(home, "servers", *arguments)


def test_each_has_a_line_of_who_tried_it_and_what_came_of_it(tmp_path: Path) -> None:
    ran = _ran(tmp_path, "parked")
    assert ran.code == 0
    first, second = (" ".join(line.split()) for line in ran.out.splitlines()[1:3])
    assert first.startswith("stun://old.example.net:3478 fra 4 ")
    assert first.endswith(" ago no answer within 5000 ms")
    assert second == "nyc"
    assert "1 server is parked; `demesh servers retry`" in ran.err
    assert json.loads(_ran(tmp_path / "other", "parked", "--json").out) == _TOLD


def test_none_is_said_plainly(tmp_path: Path) -> None:
    ran = _ran(tmp_path, "parked", told=[])
    assert (ran.code, ran.out, ran.err) == (0, "", "No server is parked.\n")


@pytest.mark.parametrize(
    ("arguments", "names", "said"),
    [
        (("a", "b"), ["a", "b"], "Trying 2 servers once more.\n"),
        (("--all",), ["a"], "Trying 1 server once more.\n"),
        (("--all",), [], "No server is parked here.\n"),
    ],
)
def test_it_says_what_is_tried_once_more(
    arguments: tuple[str, ...], names: list[str], said: str, tmp_path: Path
) -> None:
    ran = _ran(tmp_path, "retry", *arguments, told={"names": names}, path="/api/v1/servers/retry")
    assert (ran.code, ran.out + ran.err) == (0, said)


@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_it_wants_names_or_all(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = demesh(tmp_path, "servers", "retry", *arguments)
    assert ran.code == 2
    assert "Name the servers to try, or say --all." in ran.err
