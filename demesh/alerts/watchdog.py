"""The alert that is always sent: where it arrives and comes back, others would. Pure."""

from collections.abc import Mapping

from demesh.alerts.incident import Incident, Labels

NAME = "DemeshWatchdog"


def watchdog(node: str, mesh: str, extra: Labels, since_ms: int) -> Incident:
    """That of one node, by the name it is shown as. `extra` are the configured labels, so that it is routed as the
    others are.
    """
    labels = {**dict(extra), "alertname": NAME, "mesh": mesh, "node": node, "severity": "none"}
    annotations = {
        "summary": f"{node} reaches this Alertmanager",
        "description": "This alert always fires. Nothing is wrong while it does.",
    }
    return Incident(NAME, node, node, since_ms, tuple(sorted(labels.items())), tuple(sorted(annotations.items())))


def sender_of(labels: Mapping[str, str], mesh: str) -> str | None:
    """Whose watchdog an alert with these labels is, in this mesh; None if it is none."""
    ours = labels.get("alertname") == NAME and labels.get("mesh") == mesh
    return labels.get("node") or None if ours else None


def is_ours(labels: Mapping[str, str], mesh: str) -> bool:
    """Whether an alert is one that this mesh itself sends."""
    return labels.get("mesh") == mesh and labels.get("alertname", "").startswith("Demesh")
