"""Deciding: what people, and this node's configuration, decide about alerts; and what Alertmanagers tell this node.

Guarantees: what is decided is an entry of this node's log before the call returns; maintenance that stands in the
configuration is told once, and ended when it is taken out; of what Alertmanagers tell, changes are told and repetitions
are not. The configuration is compared with the log at every start, at every change and now and then, as the log in
which a decision stands may be carried.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.quiet import acknowledged
from demesh.alerts.received import Webhook
from demesh.alerts.told import (
    Json,
    acknowledgements_told,
    foreign_told,
    is_called,
    maintenance_told,
    paths_told,
    silences_told,
)
from demesh.alerts.watchdog import is_ours, sender_of
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.decision import (
    Acknowledgement,
    Maintenance,
    Silence,
    acknowledgement_event,
    end_event,
    maintenance_event,
    silence_event,
)
from demesh.log.event import Event
from demesh.log.matcher import Matcher
from demesh.log.notice import (
    NODES_PER_PATH_MAX,
    ForeignAlert,
    PathAlive,
    PathEnd,
    alert_notice,
    path_end_notice,
    path_notice,
)
from demesh.metrics import REFUSED
from demesh.view.alert_path import alert_paths
from demesh.view.decisions import Decision, Made
from demesh.view.fold import View
from demesh.view.names import name_of, names_of_everyone, shown_names
from demesh.view.notices import AlertTold, PathTold, alerts_told, path_ends, path_of

log = logging.getLogger(__name__)
_HOUR_MS = 3_600_000

Tell = Callable[..., Awaitable[None]]
"""Writes the events it gets into this node's log."""


class Incidents(Protocol):
    """What is asked of the lookout."""

    def open(self) -> list[Incident]: ...

    def incidents(self) -> list[Json]: ...

    def closed(self) -> list[Json]: ...

    def look_soon(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be kept back, for how long, and why."""

    matchers: tuple[Matcher, ...]
    duration_ms: int
    comment: str = ""
    by: str = ""


class Deciding:
    """`tell` writes events, `tell_news` notices."""

    def __init__(
        self,
        view: View,
        mesh: str,
        own_key: bytes,
        clock: Clock,
        tell: Tell,
        tell_news: Tell,
        incidents: Incidents,
        settings: Callable[[], Settings],
    ) -> None:
        self._view = view
        self._mesh = mesh
        self._own_key = own_key
        self._clock = clock
        self._tell = tell
        self._tell_news = tell_news
        self._incidents = incidents
        self._settings = settings
        self._looking = trio.Event()
        self._one_at_a_time = trio.Lock()
        self._places = float(limits.HOOK_NOTICES_BURST)
        self._counted_ms = clock.monotonic_ms()

    @property
    def own_name(self) -> str:
        """What this node is called among the others."""
        return shown_names(self._view.members()).get(self._own_key, self._settings().name)

    def heeds(self, public_key: bytes) -> bool:
        """Whether what the owner of a key decides counts here: a name counts only for the one member that says it."""
        operators = self._settings().operators
        if operators is None or peer_id(public_key) in operators:
            return True
        named = [each.public_key for each in self._view.everyone() if name_of(each) in operators]
        member = self._view.member(public_key)
        return (
            member is not None
            and public_key in named
            and sum(name_of(member) == name_of(other) for other in self._view.everyone()) == 1
        )

    def look_soon(self) -> None:
        """The configuration has changed."""
        self._looking.set()

    async def run(self) -> None:
        """Keep the log in line with the configuration, until cancelled. Raises StoreError."""
        while True:
            async with self._one_at_a_time:
                if events := self._due():
                    await self._tell(*events)
                if notices := self._paths_over():
                    await self._tell_news(*notices)
            with trio.move_on_after(limits.DECISIONS_LOOK_SECONDS):
                await self._looking.wait()
            self._looking = trio.Event()

    # What people decide

    async def silence(self, wanted: Wanted) -> None:
        """Raises UsageError, StoreError."""
        if all(each.matches({}) for each in wanted.matchers):
            raise UsageError(
                "This would silence everything: at least one matcher must ask for something, such as check=api."
            )
        now_ms, ends_ms = self._times(wanted)
        await self._decide(silence_event(Silence(wanted.matchers, now_ms, ends_ms, wanted.comment, wanted.by)))

    async def end_silence(self, wanted: str) -> None:
        """Raises UsageError, StoreError."""
        await self._end(self._view.decisions().silences, wanted, "silence")

    async def maintain(self, wanted: Wanted, name: str) -> None:
        """Begin maintenance of what matches; of everything, if there are no matchers. Raises UsageError, StoreError."""
        now_ms, ends_ms = self._times(wanted)
        each = Maintenance(name, "", now_ms, ends_ms, wanted.matchers, comment=wanted.comment, by=wanted.by)
        await self._decide(maintenance_event(each))

    async def end_maintenance(self, wanted: str) -> None:
        """Raises UsageError, StoreError."""
        await self._end(self._view.decisions().maintenance, wanted, "maintenance")

    async def acknowledge(self, wanted: str, comment: str, by: str) -> list[str]:
        """Acknowledge the open incidents that `wanted` means; returns what they are called. Raises UsageError,
        StoreError.
        """
        found = self._open(wanted)
        said = [Acknowledgement(each.name, each.key, each.onset_ms, comment, by) for each in found]
        await self._decide(*map(acknowledgement_event, said))
        return [f"{each.name} {each.subject}" for each in found]

    async def unacknowledge(self, wanted: str) -> list[str]:
        """Take back what was acknowledged of the open incidents that `wanted` means. Raises UsageError, StoreError."""
        decisions, events, found = self._view.decisions(), list[Event](), list[str]()
        for incident in self._open(wanted):
            if acknowledged(incident, decisions) is None:
                continue
            found.append(f"{incident.name} {incident.subject}")
            events += [
                end_event(each.decision, each.place)
                for each in decisions.acknowledgements
                if (each.decision.name, each.decision.key) == (incident.name, incident.key)
            ]
        if not events:
            raise UsageError(f"Nothing of {wanted!r} is acknowledged.")
        await self._decide(*events)
        return found

    # What is told of it

    def silences(self) -> list[Json]:
        return silences_told(self._view.decisions(), names_of_everyone(self._view), self._clock.wall_ms())

    def maintenance(self) -> list[Json]:
        return maintenance_told(self._view.decisions(), names_of_everyone(self._view), self._clock.wall_ms())

    def acknowledgements(self) -> list[Json]:
        return acknowledgements_told(self._view.decisions(), names_of_everyone(self._view))

    def alerts(self) -> Json:
        """Everything that is wrong, or was lately, and how alerts go: `demesh alerts --json`."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        return {
            "incidents": self._incidents.incidents(),
            "closed": self._incidents.closed(),
            "from_alertmanager": foreign_told(self._foreign(), wall_ms),
            "alert_paths": paths_told(alert_paths(self._view, now_ms), now_ms, wall_ms),
        }

    # What Alertmanagers tell

    async def hook(self, webhook: Webhook) -> int:
        """Take in what an Alertmanager posted; returns how many notices that took. Raises StoreError."""
        async with self._one_at_a_time:
            if webhook.left_out:
                REFUSED.labels("hook", "alert").inc(webhook.left_out)
            news = [*self._paths_alive(webhook), *map(alert_notice, self._changed(webhook.alerts))]
            room = self._room(len(news))
            if room < len(news):
                REFUSED.labels("hook", "rate").inc(len(news) - room)
            if room:
                await self._tell_news(*news[:room])
            return room

    def _changed(self, alerts: Sequence[ForeignAlert]) -> list[ForeignAlert]:
        """The alerts of others of which something is new."""
        known, wall_ms = {each.alert.fingerprint: each for each in self._foreign()}, self._clock.wall_ms()
        return [
            each
            for each in alerts
            if not is_ours(dict(each.labels), self._mesh) and _is_news(each, known.get(each.fingerprint), wall_ms)
        ]

    def _paths_alive(self, webhook: Webhook) -> list[Event]:
        """Of the watchdogs that came back, those of which this node has not told lately."""
        senders = {sender_of(dict(each.labels), self._mesh) for each in webhook.alerts if not each.resolved}
        due = sorted(each for each in senders - {None} if each and self._is_due(each))
        parts = [due[first : first + NODES_PER_PATH_MAX] for first in range(0, len(due), NODES_PER_PATH_MAX)]
        return [
            path_notice(PathAlive(webhook.receiver, tuple(each[: limits.NAME_CHARS_MAX] for each in part)))
            for part in parts
        ]

    def _is_due(self, sender: str) -> bool:
        told = (log.notices.paths.get(sender) for log in self._view.logs() if log.public_key == self._own_key)
        return all(
            each is None
            or each.boot8 != self._clock.boot8
            or self._clock.up_ms() - each.up_ms >= limits.ALERT_PATH_TOLD_MS
            for each in told
        )

    def _foreign(self) -> list[AlertTold]:
        return alerts_told(log.notices for log in self._view.logs())

    def _room(self, wanted: int) -> int:
        """How many notices may be written now."""
        now_ms = self._clock.monotonic_ms()
        gained = max(0, now_ms - self._counted_ms) * limits.HOOK_NOTICES_PER_HOUR / _HOUR_MS
        self._places = min(limits.HOOK_NOTICES_BURST, self._places + gained)
        self._counted_ms = now_ms
        room = min(wanted, int(self._places))
        self._places -= room
        return room

    # What the configuration says

    def _due(self) -> list[Event]:
        """What the log is to say so that it has the maintenance of the configuration, each once, and no other that is
        configured.
        """
        missing, events = list(self._settings().maintenance), list[Event]()
        for each in self._view.decisions_of(self._own_key).maintenance:
            if not each.decision.configured:
                continue
            if each.decision in missing:
                missing.remove(each.decision)
            else:
                events.append(end_event(each.decision, each.place))
        return [*events, *map(maintenance_event, missing)]

    def _paths_over(self) -> list[Event]:
        """That what was told of this node's watchdog is over, if it sends none."""
        if self._settings().watchdog:
            return []
        name, ends = self.own_name, path_ends(each.notices for each in self._view.logs())
        found: list[tuple[bytes, PathTold]] = [
            (each.log, told) for each in self._view.logs() if (told := each.notices.paths.get(name)) is not None
        ]
        return [
            path_end_notice(PathEnd(name, (log_id, told.seq)))
            for log_id, told in found
            if path_of((log_id, told.seq), name, ends)
        ]

    # In common

    async def _decide(self, *events: Event) -> None:
        await self._tell(*events)
        self._incidents.look_soon()

    async def _end(self, known: Sequence[Made[Decision]], wanted: str, what: str) -> None:
        found = [each for each in known if is_called(each.place, wanted)]
        if not found:
            raise UsageError(f"There is no {what} {wanted!r}; `demesh {what} list` lists them.")
        await self._decide(*(end_event(each.decision, each.place) for each in found))

    def _open(self, wanted: str) -> list[Incident]:
        """The open incidents that are called so: by name, by subject, or by both with a slash between."""
        found = [
            each
            for each in self._incidents.open()
            if wanted in (each.name, each.subject, f"{each.name}/{each.subject}")
        ]
        if not found:
            raise UsageError(f"There is no open incident {wanted!r}, and none of a check or node of that name.")
        return found

    def _times(self, wanted: Wanted) -> tuple[int, int]:
        if not 0 < wanted.duration_ms <= limits.DECISION_MS_MAX:
            raise UsageError(
                f"It must last for more than nothing, and at most {limits.DECISION_MS_MAX // 86_400_000} days."
            )
        now_ms = self._clock.wall_ms()
        return now_ms, now_ms + wanted.duration_ms


def _is_news(alert: ForeignAlert, known: AlertTold | None, wall_ms: int) -> bool:
    if known is None:
        return not alert.resolved
    new = AlertTold(0, 0, alert)
    if new.rank != known.rank:
        return new.rank > known.rank
    return not alert.resolved and wall_ms - known.wall_ms > limits.ALERT_RETOLD_MS
