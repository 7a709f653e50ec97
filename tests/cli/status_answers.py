"""What `GET /api/v1/status` may answer, piece by piece."""

from copy import deepcopy
from typing import Any

Json = dict[str, Any]


def vantage(node: str, vote: str = "pass", **changed: Any) -> Json:
    fields = {"assigned": True, "outcome": "pass", "detail": "", "latency_ms": 12.3, "address": None, "at": None}
    return {"node": node, "vote": vote, **fields, **changed}


def check(name: str, state: str, *vantages: Json, **changed: Any) -> Json:
    fields = {"target": f"https://{name}/", "type": "http", "severity": "critical", "interval_ms": 60_000}
    times = {"since": "2026-03-01T10:00:00Z", "certificate_expires_at": None}
    return {"name": name, "state": state, **fields, **times, "vantages": list(vantages), **changed}


def node(name: str, presence: str = "alive", **changed: Any) -> Json:
    fields = {"peer_id": "12D3KooWx", "seen_at": "2026-03-01T11:57:00Z", "version": "1", "tags": [], "addresses": []}
    return {"name": name, "presence": presence, **fields, **changed}


def incident(subject: str, name: str = "DemeshCheckDown", **changed: Any) -> Json:
    return {"name": name, "subject": subject, "since": "2026-03-01T10:00:00Z", "state": "open", **changed}


FULL: Json = {
    "mesh": "0a1b2c3d",
    "node": "nas",
    "as_of": "2026-03-01T12:00:00Z",
    "settled": True,
    "checks": [
        check("blog", "up", vantage("nas"), vantage("vps"), certificate_expires_at="2026-03-15T12:00:00Z"),
        check("shop", "down", vantage("nas", "fail", detail="status 503"), vantage("vps", "unseen")),
        check("old", "up", vantage("nas"), certificate_expires_at="2026-02-01T00:00:00Z"),
    ],
    "nodes": [node("nas"), node("vps", "silent")],
    "incidents": [incident("shop")],
}


def answer(**changed: Any) -> Json:
    """One node that is alive, no checks and nothing else, but for what is `changed`."""
    return {**deepcopy(FULL), "checks": [], "nodes": [node("nas")], "incidents": [], **changed}


def hours(*up_ratio: float | None, coverage: tuple[float, ...] | None = None) -> Json:
    """The newest hours of the 24 up to `FULL`'s time, of which nothing is over of the last."""
    told = [*[None] * (24 - len(up_ratio)), *up_ratio]
    covered = (
        [each is not None and 1 for each in told] if coverage is None else [*[0] * (24 - len(coverage)), *coverage]
    )
    return {"from": "2026-02-28T12:30:00Z", "up_ratio": told, "coverage": [float(each) for each in covered]}
