"""The phone: what an Alertmanager makes of the alerts that all nodes send it. Pure.

Alerts with the same labels are one alert, whoever sends it and however often. It rings when such an alert begins and its
severity is critical; others are noted. It has ended when the newest that was said of it is that it has, and stays so for
SETTLE_MS: one node may be a moment behind another. An alert that is not said again ends at the time that it carries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

SETTLE_MS = 2_000
_RINGING = "critical"
_NOT_TOLD = "none"
"""The severity of alerts that only prove that the way is open."""


@dataclass(frozen=True, slots=True)
class Alert:
    labels: tuple[tuple[str, str], ...]
    summary: str
    ends_ms: int

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")

    @property
    def title(self) -> str:
        """`DemeshCheckDown shop`."""
        return f"{self.label('alertname')} {self.label('check') or self.label('node')}".strip()

    @property
    def rings(self) -> bool:
        return self.label("severity") == _RINGING


class What(Enum):
    BEGAN = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Call:
    """Something that the phone shows. `told` is how often nodes have told it that the alert goes on."""

    what: What
    alert: Alert
    told: int = 1


@dataclass(slots=True)
class _Known:
    alert: Alert
    told: int = 0
    ended_ms: int | None = None


def read_alerts(document: Any) -> list[Alert]:
    """The alerts of a post to /api/v2/alerts. Raises ValueError, TypeError, KeyError or AttributeError if it is none."""
    return [
        Alert(
            tuple(sorted((str(name), str(value)) for name, value in each["labels"].items())),
            str(each.get("annotations", {}).get("summary", "")),
            round(datetime.fromisoformat(each["endsAt"]).timestamp() * 1_000),
        )
        for each in document
    ]


class Phone:
    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], _Known] = {}
        self.rung: list[str] = []
        """The title of every alert for which it rang."""

    def take(self, alerts: Iterable[Alert], now_ms: int) -> list[Call]:
        """Alerts as a node has sent them."""
        calls: list[Call] = []
        for alert in alerts:
            if alert.label("severity") == _NOT_TOLD:
                continue
            known = self._known.get(alert.labels)
            goes_on = alert.ends_ms > now_ms
            if known is None and goes_on:
                known = self._known[alert.labels] = _Known(alert)
                calls.append(Call(What.BEGAN, alert))
                if alert.rings:
                    self.rung.append(alert.title)
            if known is not None:
                known.alert = alert
                known.told += goes_on
                known.ended_ms = None if goes_on else known.ended_ms or now_ms
        return calls

    def tick(self, now_ms: int) -> list[Call]:
        """What has ended by now."""
        calls: list[Call] = []
        for labels, known in list(self._known.items()):
            if known.ended_ms is None and known.alert.ends_ms <= now_ms:
                known.ended_ms = known.alert.ends_ms
            if known.ended_ms is not None and now_ms - known.ended_ms >= SETTLE_MS:
                del self._known[labels]
                calls.append(Call(What.ENDED, known.alert, known.told))
        return calls
