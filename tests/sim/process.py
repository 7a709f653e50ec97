"""One run of a node on a simulated machine: it can be held, killed between any two steps, and end by itself."""

from collections.abc import Callable
from contextvars import Context, copy_context

import trio

from tests.sim.virtual import PROCESS, let_go


class Killed(BaseException):
    """Raised in a process that is dead already, wherever it touches the world: nothing of it may have an effect any more."""


class Process:
    def __init__(self, on_kill: Callable[[], None]) -> None:
        """`on_kill` is called at the moment of the kill, before anything else happens."""
        self.dead = False
        self.held: list[trio.lowlevel.Task] | None = None
        self.went_on_at = 0.0
        """When it was let go the last time."""
        self.steps_left: int | None = None
        """After so many more steps the process is killed."""
        self.scope = trio.CancelScope()
        self._on_kill = on_kill
        self._mail: list[Callable[[], None]] = []
        self._context: Context | None = None

    def enter(self) -> None:
        """The calling task, and all that it starts from now on, belong to this process."""
        PROCESS.set(self)
        self._context = copy_context()

    def step(self) -> None:
        """Called wherever the process touches the world. Raises Killed."""
        if not self.dead and self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.kill()
        if self.dead:
            raise Killed

    def kill(self) -> None:
        if self.dead:
            return
        self.dead = True
        self._on_kill()
        self._mail.clear()
        self.scope.cancel()
        if self.held is not None:
            let_go(self)

    def hold(self) -> None:
        if self.held is None and not self.dead:
            self.held = []

    def let_go(self) -> None:
        if self.held is not None:
            self.went_on_at = trio.current_time()
            let_go(self)
            mail, self._mail = self._mail, []
            for act in mail:
                self.deliver(act)

    def deliver(self, act: Callable[[], None]) -> None:
        """Something comes in from outside; a held process finds it when it goes on."""
        if self.dead or self._context is None:
            return
        if self.held is not None:
            self._mail.append(act)
        else:
            self._context.copy().run(act)
