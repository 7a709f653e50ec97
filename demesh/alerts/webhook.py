"""A message in the form that Alertmanager posts to its webhooks, version 4, for all that already reads those.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. A message is a group of one alert, as if Alertmanager
grouped by alertname, mesh and the subject; its fingerprint is the one that Alertmanager gives these labels. Everything here but
`post` is pure.
"""

import json
import re
from typing import Any

from demesh.alerts.message import Message
from demesh.alerts.post import bearer_of
from demesh.alerts.sink import Sink, shown_url
from demesh.curl import CurlEngine, fetch
from demesh.errors import NetworkError
from demesh.limits import NOTIFY_SECONDS_MAX
from demesh.view.report import iso

_NEVER = "0001-01-01T00:00:00Z"
_GROUPED_BY = ("alertname", "check", "mesh", "node")
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_GO_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


def payload(message: Message, sink: Sink) -> dict[str, Any]:
    """The document to post. A sink's own title and body take the place of the annotations `summary` and `description`."""
    labels = {name: value for name, value in message.incident.labels if value}
    annotations = dict(message.incident.annotations)
    if sink.title:
        annotations["summary"] = message.title(sink)
    if sink.body:
        annotations["description"] = message.body(sink)
    over = message.state == "resolved"
    status = "resolved" if over else "firing"
    grouped = {name: labels[name] for name in _GROUPED_BY if name in labels}
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{', '.join(f'{name}={json.dumps(value)}' for name, value in grouped.items())}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": _GO_META.sub(lambda match: f"\\{match[0]}", sink.name),
        "groupLabels": grouped,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": iso(message.starts_ms) or _NEVER,
                "endsAt": (iso(message.at_ms) or _NEVER) if over else _NEVER,
                "generatorURL": "",
                "fingerprint": fingerprint(labels),
            }
        ],
    }


def fingerprint(labels: dict[str, str]) -> str:
    """What Prometheus and Alertmanager call a label set: FNV-1a over names and values in order, each closed by a byte 255.

    https://github.com/prometheus/common/blob/main/model/signature.go
    """
    found = _FNV_OFFSET
    for name in sorted(labels, key=str.encode):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            found = ((found ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"


async def post(curl: CurlEngine, sink: Sink, message: Message) -> None:
    """Post `message`. Raises NetworkError unless the answer is 2xx; it shows nothing of the URL but its scheme and host."""
    bearer = await bearer_of(sink.url, sink.token_file)
    document = json.dumps(payload(message, sink)).encode()
    timeout_ms, shown = NOTIFY_SECONDS_MAX * 1_000, shown_url(sink.url)
    answer = await fetch(curl, sink.url, timeout_ms=timeout_ms, json=document, bearer=bearer, shown=shown)
    if answer.status // 100 != 2:
        raise NetworkError(f"it answered with status {answer.status}.")
