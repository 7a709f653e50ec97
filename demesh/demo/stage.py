"""Plays the story on real nodes, and believes only what they say: what they do not say in time ends it.

The narrator is what shows all this to a person; a test may bring another one.
"""

from collections.abc import Callable, Mapping
from functools import singledispatchmethod
from typing import Protocol

from demesh.clock import Clock
from demesh.demo.nodes import DemoNode
from demesh.demo.phone import Call, What
from demesh.demo.receiver import Receiver
from demesh.demo.sight import Answer as Said
from demesh.demo.sight import lacking
from demesh.demo.story import Act, Answer, Ends, Kill, Look, Quiet, Rings, See, Start, Step, Stop, Tell
from demesh.demo.targets import Target
from demesh.errors import DemeshError

_POLL_SECONDS = 0.4


class Unexpected(DemeshError):
    """What the story tells did not happen."""


class Narrator(Protocol):
    def title(self, text: str) -> None: ...

    def tell(self, text: str) -> None: ...

    def happened(self, text: str, seconds: float) -> None:
        """Something that was waited for is true now."""
        ...

    def waiting(self, text: str, seconds: float) -> None:
        """Something is not true yet; told again and again."""
        ...

    def phone(self, call: Call) -> None: ...

    def look(self, node: DemoNode) -> None:
        """Show what `demesh status` says there, and leave time to read it."""
        ...


class Stage:
    """`ask` gives what a node says (None while it does not answer); `rest` lets a moment pass, and raises what ends the demo."""

    def __init__(
        self,
        nodes: Mapping[str, DemoNode],
        targets: Mapping[str, Target],
        receiver: Receiver,
        narrator: Narrator,
        clock: Clock,
        ask: Callable[[DemoNode], Said],
        rest: Callable[[float], object],
    ) -> None:
        self.nodes = nodes
        self._targets = targets
        self._receiver = receiver
        self._narrator = narrator
        self._clock = clock
        self._ask = ask
        self._rest = rest
        self._ended: list[str] = []
        """The titles of the alerts that have ended in this act."""
        self._rung_before = 0

    def play(self, act: Act, number: str) -> float:
        """Returns how many seconds it took. Raises Unexpected."""
        began_ms = self._clock.monotonic_ms()
        self._rung_before = len(self._rung)
        self._ended.clear()
        self._narrator.title(f"{number} · {act.title}")
        for step in act.steps:
            self.do(step)
            self._refuse_other_rings(act)
        return self._since(began_ms)

    def listen(self, seconds: float) -> None:
        """Let some time pass and pass on what the phone says meanwhile."""
        self._rest(seconds)
        for call in self._receiver.calls():
            if call.what is What.ENDED:
                self._ended.append(call.alert.title)
            self._narrator.phone(call)

    def says(self, node: DemoNode) -> Said:
        return self._ask(node)

    @property
    def _rung(self) -> list[str]:
        return self._receiver.phone.rung

    def _refuse_other_rings(self, act: Act) -> None:
        rung = self._rung[self._rung_before :]
        if rung != act.rings[: len(rung)]:
            raise Unexpected(f"The phone rang for {', '.join(rung)}; expected: {', '.join(act.rings) or 'nothing'}.")

    @singledispatchmethod
    def do(self, step: Step) -> None:
        """Do one thing that happens in the story. Raises Unexpected."""
        raise AssertionError(step)

    @do.register
    def _(self, step: Tell) -> None:
        self._narrator.tell(step.text)

    @do.register
    def _(self, step: Start) -> None:
        self.nodes[step.node].start()

    @do.register
    def _(self, step: Kill) -> None:
        self.nodes[step.node].kill()

    @do.register
    def _(self, step: Stop) -> None:
        self.nodes[step.node].ask_to_stop()

    @do.register
    def _(self, step: Answer) -> None:
        self._targets[step.target].answer(step.how, step.to)

    @do.register
    def _(self, step: Look) -> None:
        self._narrator.look(self.nodes[step.node])

    @do.register
    def _(self, step: See) -> None:
        took = self._wait(step.claim, lambda: self._lack(step), step.seconds)
        self._narrator.happened(step.claim, took)

    @do.register
    def _(self, step: Rings) -> None:
        self._wait(
            f"the phone rings for {step.title}",
            lambda: "" if step.title in self._rung[self._rung_before :] else "the phone is quiet",
            step.seconds,
        )

    @do.register
    def _(self, step: Ends) -> None:
        self._wait(
            f"the phone hears the end of {step.title}",
            lambda: "" if step.title in self._ended else "the phone waits for the all-clear",
            step.seconds,
        )

    @do.register
    def _(self, step: Quiet) -> None:
        began_ms = self._clock.monotonic_ms()
        before = len(self._rung)
        while (seconds := self._since(began_ms)) < step.seconds:
            self._narrator.waiting("listening to the phone", seconds)
            self.listen(_POLL_SECONDS)
        if len(self._rung) > before:
            raise Unexpected(f"The phone rang for {self._rung[-1]}; it should have been quiet.")
        self._narrator.happened("the phone is quiet", seconds)

    def _lack(self, step: See) -> str:
        for node in self.nodes.values():
            if node.gave_up:
                raise Unexpected(
                    f"{node.name} ended by itself, {node.ending}. The end of {node.log}:\n{node.last_words()}"
                )
        return lacking(step.sight, {node.name: self._ask(node) for node in self.nodes.values() if node.running})

    def _wait(self, claim: str, lack: Callable[[], str], seconds: int) -> float:
        """Returns how many seconds it took until nothing was lacking."""
        began_ms = self._clock.monotonic_ms()
        while lacks := lack():
            waited = self._since(began_ms)
            if waited > seconds:
                raise Unexpected(f"Not within {seconds} s: {claim}. Instead: {lacks}.")
            self._narrator.waiting(lacks, waited)
            self.listen(_POLL_SECONDS)
        return self._since(began_ms)

    def _since(self, began_ms: int) -> float:
        return (self._clock.monotonic_ms() - began_ms) / 1_000
