"""What an Alertmanager posts to a webhook, version 4. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Fields that are not known are passed over, and
so is an alert that lacks what is needed of it; what is no such document at all is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from demesh import limits
from demesh.errors import UsageError
from demesh.log.notice import ForeignAlert

VERSION = "4"


@dataclass(frozen=True, slots=True)
class Webhook:
    """`left_out` is how many of the alerts could not be read, or were too many."""

    receiver: str
    alerts: tuple[ForeignAlert, ...]
    left_out: int


def read_webhook(document: Any) -> Webhook:
    """Raises UsageError."""
    if not isinstance(document, dict):
        raise UsageError("What Alertmanager posts to a webhook is a JSON object; this is none.")
    fields = cast(dict[str, Any], document)
    version, alerts = fields.get("version"), fields.get("alerts")
    if version != VERSION:
        raise UsageError(f'The version of the webhook is not "{VERSION}"; Alertmanager 0.16 and later send that.')
    if not isinstance(alerts, list):
        raise UsageError("The webhook has no list of alerts.")
    every = cast(list[Any], alerts)
    read = [_alert(each) for each in every[: limits.HOOK_ALERTS_MAX]]
    found = tuple(each for each in read if each is not None)
    receiver = fields.get("receiver")
    return Webhook(receiver if isinstance(receiver, str) else "", found, len(every) - len(found))


def _alert(each: Any) -> ForeignAlert | None:
    if not isinstance(each, dict):
        return None
    fields = cast(dict[str, Any], each)
    fingerprint, status = fields.get("fingerprint"), fields.get("status")
    labels, starts_ms = fields.get("labels"), _time_ms(fields.get("startsAt"))
    if not isinstance(fingerprint, str) or not 1 <= len(fingerprint) <= limits.NAME_CHARS_MAX or starts_ms is None:
        return None
    if status not in ("firing", "resolved") or not isinstance(labels, dict):
        return None
    pairs = cast(Mapping[Any, Any], labels).items()
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in pairs):
        return None
    return ForeignAlert(fingerprint, status == "resolved", starts_ms, tuple(sorted(pairs)))


def _time_ms(text: Any) -> int | None:
    """An RFC 3339 time as Unix time in ms; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    ms = round(time.timestamp() * 1_000)
    return ms if 0 <= ms <= limits.TIME_MS_MAX else None
