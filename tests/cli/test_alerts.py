"""`demesh alerts` and `demesh alerts test`: what they print and how they exit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answering import node_answering
from tests.cli.harness import demesh

_GOOD = {"sink": "hook", "kind": "webhook", "arrived": True, "took_ms": 12, "problem": None}
_BAD = {**_GOOD, "sink": "phone\x1b[2J", "kind": "apprise", "arrived": False, "problem": "nobody is there."}


def _lines(*lines: Any) -> dict[str, bytes]:
    return {"/api/v1/alerts/test": b"".join(json.dumps(line).encode() + b"\n" for line in lines)}


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ([{"node": "nas", "sinks": 1}, _GOOD], 0, "✔ hook (webhook): arrived in 12 ms"),
        ([{"node": "nas", "sinks": 2}, _GOOD, _BAD], 2, "(apprise): did not arrive: nobody is there."),
        ([{"node": "nas", "sinks": 0}], 2, "nobody would be told"),
        ([{"node": "nas", "sinks": 2}, _GOOD], 2, "The node ended before it knew of all."),
    ],
)
def test_it_exits_by_whether_all_arrived(lines: list[Any], code: int, says: str, tmp_path: Path) -> None:
    with node_answering(tmp_path / "home", _lines(*lines)):
        ran = demesh(tmp_path / "home", "alerts", "test")
    assert ran.code == code
    assert says in ran.out + ran.err
    assert "\x1b[2J" not in ran.out


def test_json_tells_the_same(tmp_path: Path) -> None:
    with node_answering(tmp_path / "home", _lines({"node": "nas", "sinks": 2}, _GOOD, _BAD)):
        ran = demesh(tmp_path / "home", "alerts", "test", "--json")
    assert json.loads(ran.out) == {"node": "nas", "sinks": [_GOOD, _BAD], "arrived": False}
    assert ran.code == 2
