"""The shapes of the API's answers, for `/openapi.json`. Who builds on them may rely on every field here; more may come.

Times are ISO 8601 in UTC, to the second. The answers themselves are made in `demesh.view.report`; a test holds them to this.

What of a status is the answering node's own is marked `x-local`. All else is the same on all nodes that hold the same logs, as
soon as they have heard of the same members.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from demesh import limits

_LOCAL: dict[str, Any] = {"x-local": True}


class Health(BaseModel):
    """This process is sane. Says nothing about checks."""

    status: Literal["ok"]


class Problem(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="One sentence: what is wrong and what to do.")


class Reloaded(BaseModel):
    """The configuration was read again and is in force."""

    status: Literal["reloaded"]


class VantageModel(BaseModel):
    """One node's part in a check."""

    node: str
    vote: str = Field(description="pass, fail or unseen")
    assigned: bool = Field(description="Whether the vote counts.")
    excluded: str | None = Field(
        description="Why it does not: silent, away, or what is wrong with the node as a vantage."
    )
    stalled: bool = Field(description="Whether the node is there and runs the check, but no result comes.")
    outcome: str | None = Field(description="Of the newest result: pass, fail, mismatch, timeout or error.")
    detail: str
    latency_ms: float | None
    address: str | None = Field(description="The target's address that was asked.")
    from_: str | None = Field(
        alias="from", description="The member from whom this node took the check over, if it did."
    )
    at: str | None = Field(description="When the newest result was made, by that node's clock.")


class UptimeModel(BaseModel):
    """Of a period that ends now. `ratio` is None when nothing was observed; `coverage` is how much of it was."""

    ratio: float | None
    coverage: float


class HoursModel(BaseModel):
    """The last 24 hours of a check, a number for each, the oldest first. The last one is not over."""

    from_: str = Field(alias="from", description="When the first hour began; the others follow.")
    up_ratio: list[float | None] = Field(description="Of what was observed; null where nothing was.")
    coverage: list[float] = Field(description="How much of the hour was observed, so far.")


class CheckModel(BaseModel):
    """What the mesh says of a check."""

    name: str
    target: str = Field(description="Without user info and query.")
    type: str
    state: str = Field(description="up, down, partial, flapping, unknown or paused")
    since: str | None
    severity: str
    interval_ms: int
    spread: int | None = Field(description="How many nodes are to run it; None: all that are selected.")
    depends_on: list[str] = Field(description="While one of these checks is down, nobody is notified of this one.")
    runbook: str | None
    notify: bool = Field(description="Whether anybody is notified of it at all.")
    certificate_expires_at: str | None
    uptime: dict[str, UptimeModel] = Field(
        description="By window: 1h, 24h, 7d, 30d, 365d, each up to the node's last look back.", json_schema_extra=_LOCAL
    )
    latency_ms: dict[str, float] = Field(
        description="Quantiles of the last 24 hours: p50, p95, p99. Empty without any.", json_schema_extra=_LOCAL
    )
    hours: HoursModel | None = Field(
        description="As of the last look back, as uptime is. Null when nothing was observed.", json_schema_extra=_LOCAL
    )
    quorum: int = Field(description="How many of the votes that count must fail for it to be down.")
    vantages: list[VantageModel]


class WarningModel(BaseModel):
    """Something about a node that wants a look, as it says itself."""

    at: str | None
    subject: str = Field(description="What it concerns: retention, configuration.")
    text: str


class NodeModel(BaseModel):
    """A member of the mesh."""

    name: str
    peer_id: str
    presence: str = Field(description="alive, suspect, silent or away")
    seen_at: str | None = Field(
        description="When it was heard of last, by the answering node's clock; of one that is silent, by its own.",
        json_schema_extra=_LOCAL,
    )
    roaming: bool = Field(description="Whether it comes and goes, so that its silence is no fault.")
    bye: str | None = Field(description="Why it took leave, if it did: stopped, left.")
    back_by: str | None = Field(
        description="Until when it is away then, by the answering node's clock.", json_schema_extra=_LOCAL
    )
    broken: str | None = Field(description="Why its votes do not count, or not all of them.")
    version: str | None
    tags: list[str]
    addresses: list[str] = Field(description="Where it can be dialled, as multiaddrs.")
    warnings: list[WarningModel] = Field(description="Its warnings of the last 24 hours, the newest first.")


class MemberModel(BaseModel):
    """A member as this node knows it, or one that has left."""

    name: str
    peer_id: str
    self: bool = Field(description="Whether it is the node that answers.")
    presence: str = Field(description="alive, suspect, silent, away or left")
    seen_at: str | None
    connected: bool
    address: str | None = Field(description="Where it is connected, or was last, or what it says of itself.")
    rtt_ms: float | None = Field(description="Of the pings over a connection, smoothed; one goes out every 15 s.")
    clock_skew_ms: int | None = Field(description="By how much its wall clock is ahead of the answering node's.")
    log: str
    head_seq: int = Field(description="Of the newest entry that this node holds of its log.")
    lag_entries: int = Field(description="By how much that is behind what any peer was seen to hold.")
    version: str | None
    tags: list[str]
    addresses: list[str] = Field(description="Where it can be dialled, as multiaddrs.")


class Done(BaseModel):
    """What was asked for has been done."""

    status: str


class MutedModel(BaseModel):
    """Why an incident is not notified."""

    kind: str = Field(description="silence, maintenance or depends_on")
    by: str = Field(description="Who said so, the maintenance's name, or the check that it depends on.")
    until: str | None
    comment: str


class AcknowledgedModel(BaseModel):
    """That somebody looks after an incident."""

    id: str
    by: str
    node: str = Field(description="The member in whose log that stands.")
    comment: str
    at: str | None


class IncidentModel(BaseModel):
    """Something that was opened and is not closed."""

    name: str = Field(description="The alert's name, such as DemeshCheckDown.")
    subject: str
    state: str
    since: str | None = Field(json_schema_extra=_LOCAL)
    labels: dict[str, str] = Field(
        description="Those of the node's own configuration are among them.", json_schema_extra=_LOCAL
    )
    annotations: dict[str, str] = Field(json_schema_extra=_LOCAL)
    muted: MutedModel | None = Field(json_schema_extra=_LOCAL)
    acknowledged: AcknowledgedModel | None = Field(json_schema_extra=_LOCAL)


class SinkModel(BaseModel):
    """Where the answering node sends alerts."""

    name: str = Field(description="Its URL, without user info and query.")
    ok: bool | None = Field(description="Whether the newest alert got through; null before there was any.")
    last_ok_at: str | None = Field(description="When an alert got through last, since the node started.")
    problem: str | None = Field(description="Why the newest did not.")


class HistoryModel(BaseModel):
    """How far uptime is worked out. While it is not complete, it is of a part of what the logs say."""

    behind: int = Field(description="Entries held that are not part of it yet. A few always are.")
    complete: bool


class LackModel(BaseModel):
    """A log of which peers hold more than the answering node."""

    node: str | None = Field(description="Whose log it is; null while that is not known.")
    log: str
    entries: int = Field(description="How many are missing.")


class LogsModel(BaseModel):
    """How far the answering node is behind its peers. While it is not complete, it may not know yet what others know."""

    behind: int = Field(description="Entries that peers hold and it lacks. A few are always on their way.")
    complete: bool
    lacks: list[LackModel]


class NetworkModel(BaseModel):
    """Whether the answering node is connected with others at all. Its network is built anew whenever it fails."""

    running: bool
    cut_off: bool = Field(description="Whether it looks as if this node, not the others, were cut off.")
    down_since: str | None
    rebuilds: int = Field(description="How often it was built anew since the node started.")
    failed_at: str | None = Field(description="When it failed the last time.")
    problem: str | None = Field(description="Why it failed the last time.")


class ClockModel(BaseModel):
    """What the answering node's NTP checks say of its wall clock."""

    ahead_ms: float = Field(description="By how much it is ahead of them (the median); below 0 it is behind.")
    checks: int = Field(description="How many of them tell.")


class StatusModel(BaseModel):
    """What a node knows of the whole mesh, now."""

    mesh: str
    node: str | None = Field(description="The name of the node that answers.", json_schema_extra=_LOCAL)
    as_of: str | None = Field(description="When it answers, by its clock.", json_schema_extra=_LOCAL)
    settled: bool = Field(
        description="Whether every live vantage has reported since this node listens.", json_schema_extra=_LOCAL
    )
    history: HistoryModel = Field(json_schema_extra=_LOCAL)
    logs: LogsModel = Field(json_schema_extra=_LOCAL)
    network: NetworkModel = Field(json_schema_extra=_LOCAL)
    clock: ClockModel | None = Field(
        default=None, description="None if no NTP check of this node tells.", json_schema_extra=_LOCAL
    )
    checks: list[CheckModel]
    nodes: list[NodeModel]
    incidents: list[IncidentModel]
    sinks: list[SinkModel] = Field(json_schema_extra=_LOCAL)


class ReachedModel(BaseModel):
    """How this node is reached by others."""

    name: str
    peer_id: str
    addresses: list[str] = Field(description="What it tells others to dial, as multiaddrs.")
    listening: list[str] = Field(
        description="Where it listens, as multiaddrs; a wildcard is any address of its machine."
    )
    swarm_key: str = Field(description="The fingerprint of the newest swarm key it has.")


class KeyHolderModel(BaseModel):
    """A member that may have the new swarm key."""

    name: str
    peer_id: str
    has_it: bool = Field(description="Whether it is known to have it.")


class KeyChangeModel(BaseModel):
    """A change of the swarm key."""

    fingerprint: str = Field(description="Of the new key.")
    begun_by: str
    finished: bool = Field(description="Whether the old key is being dropped.")
    members: list[KeyHolderModel]
    left_out: list[str] = Field(description="Known members that do not get it.")


class KeyStateModel(BaseModel):
    """The swarm key, by its fingerprint."""

    fingerprint: str
    change: KeyChangeModel | None


class HeldCheckModel(BaseModel):
    """A check as the node that answers holds it."""

    name: str
    type: str
    target: str = Field(description="Without user info and query.")
    interval_ms: int
    deadline_ms: int
    nodes: list[str]
    spread: int | None = Field(description="How many of `nodes` run it; None: all.")
    runs_here: bool
    parked: bool = Field(description="A server of a list that never answered, and is tried once a day.")
    from_: str | None = Field(
        alias="from", description="The member from whom it was taken over; None: the node's own files."
    )


class AskModel(BaseModel):
    """What to try, and from where: the name of a check of this node, or a table like [[check]]."""

    model_config = ConfigDict(extra="forbid")

    check: str | None = None
    table: dict[str, Any] = Field(default={}, description="target, timeout, expect, and keys that hold no secret.")
    selectors: list[str] = Field(default=["*"], alias="from", min_length=1, max_length=limits.LOGS_MAX)


class HeadModel(BaseModel):
    """A log's newest entry. Equal on two nodes exactly when they hold the same log.

    `forked_at` is the place for which its owner is proven to have signed two entries; the log ends in front of it.
    """

    log: str
    node: str | None
    peer_id: str
    seq: int
    hash: str
    forked_at: int | None
