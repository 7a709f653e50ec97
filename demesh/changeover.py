"""Changeover: a running node goes over to another configuration, or to what the mesh asks of it.

    configuration, API, signal ─→ Settings ─╮
    plans and presence of the others ───────┴─→ duty ─→ plan in the own log ─→ checks that run

Guarantees: one change after the other; checks that stay the same are not disturbed; a configuration that is refused leaves the
last good one in force, is counted, and is told to the mesh without what stands in it. Not guaranteed: settings that only count
at a start; those are named, and stay as they are.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from demesh import limits
from demesh.alerting import Alerting
from demesh.author import Assignment
from demesh.checks.runner import Runner
from demesh.config.load import Settings
from demesh.duty import Duty
from demesh.errors import ConfigError, EntryError, UsageError
from demesh.log.admission import Admission
from demesh.log.plan import PlanRow, split_plan
from demesh.mesh.network import Network
from demesh.metrics import CONFIG_GOOD, REFUSED
from demesh.own_log import OwnLog

log = logging.getLogger(__name__)


class Changeover:
    """`load` reads the configuration anew; it raises UsageError for a bad one."""

    def __init__(
        self,
        load: Callable[[], Awaitable[Settings]],
        duty: Duty,
        own_log: OwnLog,
        runner: Runner,
        admission: Admission,
        network: Network,
        alerting: Alerting,
    ) -> None:
        self._load = load
        self._duty = duty
        self._own_log = own_log
        self._runner = runner
        self._admission = admission
        self._network = network
        self._alerting = alerting
        self._one_at_a_time = trio.Lock()

    async def reload(self) -> None:
        """Take up the configuration anew. Raises UsageError for a bad one; then the last good one stays in force."""
        try:
            changed = await self._apply(await self._load())
        except UsageError as error:
            REFUSED.labels("config", "bad").inc()
            CONFIG_GOOD.set(0)
            await self._own_log.warn("configuration", _refusal(error))
            raise
        CONFIG_GOOD.set(1)
        log.warning("The configuration was taken up: %d checks.", len(self._duty.settings.checks))
        if changed:
            log.warning("These settings have changed, but not while this node runs; restart it: %s", ", ".join(changed))

    async def _apply(self, settings: Settings) -> list[str]:
        """Go over to `settings` without a restart; returns the names of those settings that need one, left as they are.

        Checks that stay the same are not disturbed. Raises UsageError if so many checks cannot be told, StoreError.
        """
        async with self._one_at_a_time:
            settings, changed = self._duty.live(settings)
            await self._go_over(settings, self._duty.rows_of(settings))
            self._network.admit(self._admission.allows)
            self._alerting.look_soon()
            self._alerting.take_up(settings)
            return changed

    async def follow_the_mesh(self) -> None:
        """Take up what the others' plans and presence ask of this node, and try anew what is parked. Until cancelled."""
        while True:
            await trio.sleep(limits.DUTY_LOOK_SECONDS)
            async with self._one_at_a_time:
                if (due := self._duty.due()) is not None:
                    try:
                        await self._go_over(*due)
                    except UsageError as error:
                        log.error("What the mesh asks of this node is not taken up: %s", error)
                elif self._duty.turned():
                    self._runner.set_checks(self._duty.running())

    async def _go_over(self, settings: Settings, rows: list[PlanRow]) -> None:
        """Go over to these settings and this plan. Raises UsageError if it cannot be told, StoreError."""
        try:
            sinks = self._duty.sinks_of(settings)
            told = (rows, sinks) == (self._duty.rows, self._duty.sinks)
            parts = () if told else split_plan(rows, sinks)
        except EntryError as error:
            raise UsageError(f"The checks cannot be told to the mesh: {error}.") from None

        def prepare(own_log: bytes) -> Assignment:
            self._duty.take_up(settings, rows)
            self._admission.policy = settings.policy
            self._runner.set_checks(self._duty.running())
            return Assignment(settings.checks, self._duty.votes(own_log, rows), parts)

        await self._own_log.change(prepare)


def _refusal(error: UsageError) -> str:
    """What may be told to others of a refused configuration: neither its files nor what stands in them."""
    many = (
        f" It has {len(error.problems)} mistakes." if isinstance(error, ConfigError) and len(error.problems) > 1 else ""
    )
    return (
        f"The configuration was changed and is refused; the last good one stays in force.{many} "
        "The node's diagnostic log and `demesh check validate` name each mistake."
    )
