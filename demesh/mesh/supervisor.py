"""The supervisor keeps a node's network running: what `demesh.mesh.supervision` decides, done.

Guarantees: `run` ends by cancellation, or by NetworkError if the network cannot be started the first time; afterwards it is
built anew in place, with the same key, addresses, topic and protocols, for as long as the node runs. `alongside` runs while the
network does and begins anew with it, so whoever dials starts without a memory of failures.

It says at each step by when the next one comes (`demesh.pulse`): the network is built or has failed, is examined, is built anew.
Only a step that never ends is a hang; a network that dies again and again is none.

Told: a line in the diagnostic log when the network dies, when the reason changes, and when it runs again.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from typing import NoReturn

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.errors import NetworkError, leaves
from demesh.mesh.network import Handler, Network
from demesh.mesh.supervision import Condition, Supervision
from demesh.metrics import NETWORK_RESTARTS, NETWORK_UP
from demesh.pulse import Turned

log = logging.getLogger(__name__)


class Supervisor:
    def __init__(
        self,
        network: Network,
        clock: Clock,
        rng: random.Random,
        alongside: Callable[[], Awaitable[None]] = trio.sleep_forever,
        rebuilt: Callable[[], Awaitable[None]] | None = None,
        turned: Turned = lambda _: None,
    ) -> None:
        """`rebuilt` is called each time that the network runs again, while it does; `turned` at each step."""
        self._network = network
        self._clock = clock
        self._rng = rng
        self._alongside = alongside
        self._rebuilt = rebuilt
        self._turned = turned
        self._supervision = Supervision()
        self._told = ""

    @property
    def condition(self) -> Condition:
        """How the network is now."""
        return self._supervision.condition(self._now())

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the network running until cancelled; started when it listens. Raises NetworkError, see above."""
        started = partial(self._started, task_status)
        while True:
            self._next_step_within(limits.NETWORK_BUILD_SECONDS_MAX)
            try:
                await self._live(handler, started)
            except NetworkError as error:
                problem = str(error)
                delay_seconds = self._supervision.died(self._now(), problem, self._rng.random())
                if delay_seconds is None:
                    raise
                NETWORK_UP.set(0)
                self._tell_death(problem, delay_seconds)
            self._next_step_within(delay_seconds)
            await trio.sleep(delay_seconds)

    async def _live(self, handler: Handler, started: Callable[[], bool]) -> NoReturn:
        """One life of the network; ends by NetworkError."""
        problems: list[NetworkError] = []
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._network.run, handler)
                again = started()
                nursery.start_soon(self._alongside)
                nursery.start_soon(self._examine_now_and_then)
                if again and self._rebuilt is not None:
                    nursery.start_soon(self._rebuilt)
        except* NetworkError as group:
            problems = leaves(group)
        raise problems[0] if problems else NetworkError("The network ended without a reason.")

    def _started(self, task_status: trio.TaskStatus[None]) -> bool:
        """Note that the network runs; whether it does so again."""
        NETWORK_UP.set(1)
        was_down_seconds = self._supervision.started(self._now())
        if was_down_seconds is None:
            task_status.started()
            return False
        NETWORK_RESTARTS.inc()
        self._told = ""
        log.warning(
            "The network of this node runs again, after %.1f s; it connects to its peers anew.", was_down_seconds
        )
        return True

    def _tell_death(self, problem: str, delay_seconds: float) -> None:
        if problem != self._told:
            self._told = problem
            log.error(
                "The network of this node stopped: %s It is built anew in %.1f s, and as often as it takes; checks, log, API "
                "and alerts go on meanwhile.",
                problem,
                delay_seconds,
            )

    async def _examine_now_and_then(self) -> None:
        """Raise NetworkError once the network is found dead."""
        while True:
            self._next_step_within(limits.NETWORK_EXAMINE_SECONDS + limits.NETWORK_EXAMINE_SECONDS_MAX)
            await trio.sleep(limits.NETWORK_EXAMINE_SECONDS)
            problem = await self._examine()
            if problem:
                log.info("An examination of the network found: %s", problem)
            if self._supervision.examined(problem):
                raise NetworkError(problem)

    async def _examine(self) -> str:
        """What is wrong with the network, empty if nothing is."""
        try:
            with trio.fail_after(limits.NETWORK_EXAMINE_SECONDS_MAX):
                await self._network.examine()
        except NetworkError as error:
            return str(error)
        except trio.TooSlowError:
            return f"It did not answer to itself within {limits.NETWORK_EXAMINE_SECONDS_MAX} s."
        return ""

    def _next_step_within(self, seconds: float) -> None:
        self._turned(self._clock.monotonic_ms() + ceil(seconds * 1_000))

    def _now(self) -> float:
        return self._clock.monotonic_ms() / 1_000
