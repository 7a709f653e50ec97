"""`demesh check run` but for the asking itself: what it prints, how it exits, what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from demesh.cli.check_run import conclusion
from tests.cli.harness import demesh


def test_without_a_running_node_it_says_so(tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "check", "run", "https://example.org", "--from", "*")
    assert ran.code == 3
    assert ran.out == ""
    assert "There is no node at" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("https://example.org", "-4", "-6"), "leave nothing to try"),
        (("tcp://example.org:1", "--expect-body", "x"), "for http:// and https:// only"),
        (("blog", "--timeout", "3s"), "goes with a URL"),
        (("blog", "-6"), "goes with a URL"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anybody_is_asked(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    ran = demesh(tmp_path / "home", "check", "run", *arguments)
    assert ran.code == 2
    assert says in ran.err


def _answer(outcome: str | None, *, own: bool = False) -> dict[str, Any]:
    return {"own": own, "answered": outcome is not None, "outcome": outcome}


@pytest.mark.parametrize(
    ("own", "others", "code", "says"),
    [
        ("pass", ["pass", "pass"], 0, "It passes for all 3"),
        ("pass", ["pass", None], 0, "It passes for all 2"),
        ("timeout", ["pass", "pass"], 1, "It is you"),
        ("fail", ["timeout", "mismatch"], 1, "It is down: it fails for all 3"),
        ("pass", ["fail", "pass"], 1, "passes for 2 and fails for 1"),
        ("fail", ["fail", "pass"], 1, "passes for 1 and fails for 2"),
        ("pass", [None, None], 0, "passes here, and nobody else"),
        ("fail", [None], 1, "fails here, and nobody else"),
        ("error", [None], 1, "Nobody could try it"),
        ("error", ["pass"], 0, "It passes for all 1"),
        ("pass", ["error"], 0, "passes here, and nobody else"),
    ],
)
def test_the_answers_come_to_a_sentence_and_an_exit_code(
    own: str, others: list[str | None], code: int, says: str
) -> None:
    sentence, found = conclusion([_answer(own, own=True), *map(_answer, others)])
    assert found == code
    assert says in sentence
