"""What is told of an incident at one moment, before it is put in a sink's form. Pure."""

from dataclasses import dataclass
from typing import Literal

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.sink import Sink
from demesh.alerts.template import BODY, TITLE, Template
from demesh.config.duration import format_duration
from demesh.view.report import iso

State = Literal["firing", "reminder", "resolved"]


@dataclass(frozen=True, slots=True)
class Message:
    """`at_ms` is the wall time at which it is told; for what is over, that is taken for its end. `node` is the name of who
    tells it, `reminder` counts the reminders.
    """

    incident: Incident
    state: State
    at_ms: int
    node: str
    mesh: str
    reminder: int = 0

    @property
    def starts_ms(self) -> int:
        return min(self.incident.onset_ms, self.at_ms)

    def title(self, sink: Sink) -> str:
        return self._filled(sink.title or TITLE)

    def body(self, sink: Sink) -> str:
        return self._filled(sink.body or BODY)

    def _filled(self, template: Template) -> str:
        return template.fill(self._values()).strip()[: limits.NOTIFY_TEXT_CHARS_MAX]

    def _values(self) -> dict[str, str]:
        labels, annotations = dict(self.incident.labels), dict(self.incident.annotations)
        return {
            "name": self.incident.name,
            "subject": self.incident.subject,
            "severity": labels.get("severity", ""),
            "state": f"reminder {self.reminder}" if self.state == "reminder" else self.state,
            "summary": annotations.get("summary", ""),
            "description": annotations.get("description", ""),
            "since": iso(self.starts_ms) or "",
            "duration": format_duration(self.at_ms - self.starts_ms),
            "runbook": annotations.get("runbook", ""),
            "mesh": self.mesh,
            "labels": ", ".join(f"{name}={value}" for name, value in self.incident.labels),
            "node": self.node,
        }
