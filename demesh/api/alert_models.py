"""The shapes of what is asked and answered about alerts, for `/openapi.json`. See `demesh.api.models`."""

from pydantic import BaseModel, ConfigDict, Field

from demesh import limits
from demesh.api.models import IncidentModel


class Wish(BaseModel):
    """What every decision may say."""

    model_config = ConfigDict(extra="forbid")

    comment: str = ""
    by: str = Field(default="", description="Who says so. The node in whose log it stands is told in any case.")


class SilenceWish(Wish):
    """What to silence, from now on. At least one matcher must ask for something that not everything has."""

    matchers: list[str] = Field(
        description='Alertmanager\'s: check=api, node!=nas, severity=~"warning|info", team!~web.*', min_length=1
    )
    duration_ms: int = Field(gt=0, le=limits.DECISION_MS_MAX)


class MaintenanceWish(Wish):
    """What is maintained, from now on; without matchers it is everything."""

    matchers: list[str] = []
    duration_ms: int = Field(gt=0, le=limits.DECISION_MS_MAX)
    name: str = Field(default="maintenance", min_length=1, max_length=limits.NAME_CHARS_MAX)


class AcknowledgementWish(Wish):
    """What is acknowledged."""

    incident: str = Field(description="The name of open incidents, their check or node, or both: DemeshCheckDown/api.")


class DecisionModel(BaseModel):
    """What every decision tells."""

    id: str
    by: str
    node: str = Field(description="The member in whose log it stands.")
    comment: str


class SilenceModel(DecisionModel):
    """A silence that is not over."""

    matchers: list[str]
    starts_at: str | None
    ends_at: str | None
    active: bool


class MaintenanceModel(DecisionModel):
    """Maintenance that goes on, is to come, or comes again and again."""

    name: str
    when: str | None = Field(description="Days, hours and time zone of what comes again.")
    starts_at: str | None
    ends_at: str | None = Field(description="Of what comes again: when the one that goes on ends.")
    matchers: list[str]
    checks: list[str]
    nodes: list[str]
    configured: bool = Field(description="Whether it stands in the configuration of that node.")
    active: bool


class AcknowledgementModel(DecisionModel):
    """An acknowledgement that was not taken back. Whether its incident is open is told with the incidents."""

    name: str
    key: str
    onset: str | None
    at: str | None


class ClosedModel(BaseModel):
    """An incident that closed lately while the answering node ran."""

    name: str
    subject: str
    state: str
    since: str | None
    closed_at: str | None
    labels: dict[str, str]
    annotations: dict[str, str]


class ForeignAlertModel(BaseModel):
    """What an Alertmanager told some member of."""

    fingerprint: str
    since: str | None
    told_at: str | None
    labels: dict[str, str] = Field(description="At most 20, cut short.")


class AlertPathModel(BaseModel):
    """Whether the watchdog of a node comes back."""

    node: str = Field(description="Whose watchdog it is.")
    receiver: str = Field(description="The receiver in Alertmanager by which it came back.")
    to: list[str] = Field(description="The members that it came back to.")
    came_back_at: str | None
    works: bool
    stopped: bool


class AlertsModel(BaseModel):
    """Everything that is wrong, or was lately, and how alerts go."""

    incidents: list[IncidentModel]
    closed: list[ClosedModel]
    from_alertmanager: list[ForeignAlertModel]
    alert_paths: list[AlertPathModel]


class Acknowledged(BaseModel):
    """Which incidents that concerns."""

    incidents: list[str]


class HookModel(BaseModel):
    """What came of a webhook."""

    status: str
    told: int = Field(description="How many entries it took to tell the mesh what was new.")
