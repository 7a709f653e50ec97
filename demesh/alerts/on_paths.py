"""The incident of an alert path that broke. Pure.

DemeshAlertPathBroken  opens when a node's watchdog, which came back before, does so no more (`demesh.view.alert_path`); closes
                       when it comes back, or is not sent any more
"""

from demesh.alerts.incident import Incident, Labels, Seen
from demesh.view.alert_path import AlertPath, alert_paths
from demesh.view.fold import View

NAME = "DemeshAlertPathBroken"


def look_at_paths(view: View, mesh: str, extra: Labels, now_ms: int, wall_ms: int) -> list[Seen]:
    """Every path that is known, as it is at `now_ms`. `extra` are the configured labels."""
    return [
        Seen(NAME, each.node, _broken(each, mesh, extra, wall_ms) if each.stopped else None, each.works)
        for each in alert_paths(view, now_ms)
    ]


def _broken(path: AlertPath, mesh: str, extra: Labels, wall_ms: int) -> Incident:
    labels = {**dict(extra), "alertname": NAME, "mesh": mesh, "node": path.node, "severity": "critical"}
    annotations = {
        "summary": f"alerts of {path.node} may reach nobody",
        "description": f"The watchdog of {path.node} came back from its Alertmanager to {', '.join(path.receivers)}, and has "
        f"not for {path.quiet_ms // 1_000} s, though both nodes are alive. Look at the Alertmanager, the way to it, and its "
        f"receiver {path.receiver!r}.",
    }
    pairs = tuple(sorted(labels.items())), tuple(sorted(annotations.items()))
    return Incident(NAME, path.node, path.node, wall_ms - path.quiet_ms, *pairs)
