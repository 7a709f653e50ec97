"""Findings, and examinations that cannot hang: each runs in a thread of its own and is left behind when its time is over."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from queue import Empty, SimpleQueue

from demesh import limits


class Level(IntEnum):
    """The number is the exit code that it makes."""

    GOOD = 0
    WARNING = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found on a topic. `remedy` says what to do, and is empty when all is good."""

    topic: str
    level: Level
    sentence: str
    remedy: str = ""


def good(topic: str, sentence: str) -> Finding:
    return Finding(topic, Level.GOOD, sentence)


def warning(topic: str, sentence: str, remedy: str) -> Finding:
    return Finding(topic, Level.WARNING, sentence, remedy)


def bad(topic: str, sentence: str, remedy: str) -> Finding:
    return Finding(topic, Level.BAD, sentence, remedy)


Examination = Callable[[], Sequence[Finding]]


def examine(
    examinations: Mapping[str, Examination],
    monotonic_ms: Callable[[], int],
    waiting: Callable[[Sequence[str]], None],
    seconds: float = limits.DOCTOR_CHECK_SECONDS_MAX,
) -> Iterator[Finding]:
    """What all `examinations` find, run at once, in their order, by topic.

    One that takes longer than `seconds` is a finding itself. `waiting` is told once, after two thirds of that time, which
    topics are still open.
    """
    answers: SimpleQueue[tuple[str, Sequence[Finding]]] = SimpleQueue()

    def run(topic: str, examination: Examination) -> None:
        try:
            found = examination()
        except Exception as error:  # noqa: BLE001 one broken examination must not hide what the others find
            found = [warning(topic, f"could not be examined ({type(error).__name__}).", "Please report this.")]
        answers.put((topic, found))

    for topic, examination in examinations.items():
        threading.Thread(target=run, args=(topic, examination), daemon=True).start()
    found: dict[str, Sequence[Finding]] = {}
    started_ms, told = monotonic_ms(), False
    while len(found) < len(examinations):
        gone = (monotonic_ms() - started_ms) / 1_000
        if gone >= seconds:
            break
        try:
            topic, findings = answers.get(timeout=(seconds if told else seconds * 2 / 3) - gone)
            found[topic] = findings
        except (Empty, ValueError):
            if not told:
                told = True
                waiting([topic for topic in examinations if topic not in found])
    late = f"took longer than {seconds:g} s and was left."
    for topic in examinations:
        yield from found.get(topic, [warning(topic, late, "Look at it by hand: something there does not answer.")])
