"""`demesh swarm-key rotate` asks the running node and shows who has the new key."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answering import node_answering
from tests.cli.harness import demesh

_STABLE: dict[str, Any] = {"fingerprint": "0a" * 8, "change": None}
_CHANGING: dict[str, Any] = {
    "fingerprint": "0a" * 8,
    "change": {
        "fingerprint": "0b" * 8,
        "begun_by": "nas",
        "finished": False,
        "members": [
            {"name": "nas", "peer_id": "12D3KooWa", "has_it": True},
            {"name": "vps\x1b[1m", "peer_id": "12D3KooWb", "has_it": False},
        ],
        "left_out": ["laptop"],
    },
}


def test_it_shows_who_has_the_key_and_who_was_left_out(tmp_path: Path) -> None:
    answers = {"/api/v1/swarm-key/rotate?without=laptop": _CHANGING, "/api/v1/swarm-key": _CHANGING}
    with node_answering(tmp_path / "home", answers):
        begun = demesh(tmp_path / "home", "swarm-key", "rotate", "--without", "laptop")
        shown = demesh(tmp_path / "home", "swarm-key", "rotate", "--status")
        as_json = demesh(tmp_path / "home", "swarm-key", "rotate", "--status", "--json")
    assert begun.out == shown.out
    assert begun.out.splitlines() == [
        "The swarm key changes from 0a0a0a0a0a0a0a0a to 0b0b0b0b0b0b0b0b, begun by nas",
        "  ✔ has it   nas",
        "  … not yet  vps\ufffd[1m",
        "  ✘ left out laptop",
        "The old key is dropped when 1 more member has the new one.",
    ]
    assert json.loads(as_json.out) == _CHANGING


def test_without_a_change_it_says_so(tmp_path: Path) -> None:
    with node_answering(tmp_path / "home", {"/api/v1/swarm-key/finish": _STABLE}):
        ran = demesh(tmp_path / "home", "swarm-key", "rotate", "--finish")
    assert ran.out == "The swarm key is 0a0a0a0a0a0a0a0a; no change is under way.\n"


@pytest.mark.parametrize(
    "options", [("--status", "--finish"), ("--finish", "--without", "a"), ("--status", "--without", "a")]
)
def test_options_that_exclude_each_other_are_refused(options: tuple[str, ...], tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "swarm-key", "rotate", *options)
    assert ran.code == 2
    assert "do not go together" in ran.err


def test_it_needs_a_running_node(tmp_path: Path) -> None:
    assert demesh(tmp_path / "home", "swarm-key", "rotate").code == 3
