"""Watching goes on whatever the node does, and tells since when nothing is new."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from demesh.cli.status_screen import Asked
from demesh.cli.watching import Woken, keep_watching
from demesh.errors import DemeshError, NodeNotRunning, UsageError

_AWAY = NodeNotRunning("Nobody answers.")


@dataclass
class _Person:
    """Somebody at a terminal of whom nothing is real: what the node answers, and what wakes the wait, is written down before."""

    answers: list[str | DemeshError]
    woken: list[Woken] = field(default_factory=list[Woken])
    looks: list[float] = field(default_factory=list[float])
    """After how many seconds each wait is over, if not when its time has come."""
    now_ms: int = 0
    asking_ms: int = 0
    drawn: list[tuple[int, Any, Asked]] = field(default_factory=list[tuple[int, Any, Asked]])
    asked_ms: list[int] = field(default_factory=list[int])

    def ask(self) -> dict[str, Any]:
        self.asked_ms.append(self.now_ms)
        self.now_ms += self.asking_ms
        answer = self.answers.pop(0)
        if isinstance(answer, DemeshError):
            raise answer
        return {"mesh": answer}

    def draw(self, answer: dict[str, Any] | None, asked: Asked) -> None:
        self.drawn.append((self.now_ms, answer and answer["mesh"], asked))

    def wait(self, seconds: float) -> Woken:
        if not self.answers and not self.looks:
            return Woken.QUIT
        if self.looks:
            self.now_ms += round(1_000 * self.looks.pop(0))
            return self.woken.pop(0)
        self.now_ms += round(1_000 * seconds)
        return Woken.TIME

    def watch(self, period_ms: int = 2_000) -> None:
        keep_watching(self.ask, self.draw, self.wait, self._monotonic_ms, period_ms)

    @property
    def _monotonic_ms(self) -> Callable[[], int]:
        return lambda: self.now_ms


def test_every_period_it_asks_and_draws_what_it_hears() -> None:
    person = _Person(["a", "b", "c"])
    person.watch()
    assert person.drawn == [(0, "a", Asked()), (2_000, "b", Asked()), (4_000, "c", Asked())]


def test_a_node_that_goes_away_is_asked_on_and_what_was_known_stays_with_its_age() -> None:
    person = _Person(["a", _AWAY, _AWAY, "b"])
    person.watch()
    away = [(2_000, "a", Asked(2_000, str(_AWAY))), (4_000, "a", Asked(4_000, str(_AWAY)))]
    assert person.drawn == [(0, "a", Asked()), *away, (6_000, "b", Asked())]


def test_a_node_that_does_not_answer_yet_is_waited_for() -> None:
    person = _Person([_AWAY, "a"])
    person.watch()
    assert person.drawn == [(0, None, Asked(0, str(_AWAY))), (2_000, "a", Asked())]


def test_what_is_refused_at_first_is_an_error_and_later_a_trouble() -> None:
    refused = UsageError("The token is not known.")
    with pytest.raises(UsageError):
        _Person([refused]).watch()
    person = _Person(["a", refused, "b"])
    person.watch()
    assert [asked.problem for _, _, asked in person.drawn] == ["", "The token is not known.", ""]


def test_a_screen_that_changes_is_drawn_at_once_without_asking_again() -> None:
    person = _Person(["a", "b"], [Woken.LOOK, Woken.LOOK], [0.5, 0.25])
    person.watch()
    assert person.drawn == [(0, "a", Asked()), (500, "a", Asked(500)), (750, "a", Asked(750)), (2_000, "b", Asked())]
    assert person.asked_ms == [0, 2_000]


def test_a_slow_node_is_not_asked_twice_at_once_nor_in_a_rush_afterwards() -> None:
    person = _Person(["a", "b", "c"], asking_ms=5_000)
    person.watch()
    assert person.asked_ms == [0, 5_000, 10_000]
    assert all(asked == Asked() for _, _, asked in person.drawn), "the answer is as old as its end"


def test_whoever_has_seen_enough_is_let_go() -> None:
    person = _Person(["a", "b"], [Woken.QUIT], [0.1])
    person.watch()
    assert len(person.drawn) == 1
