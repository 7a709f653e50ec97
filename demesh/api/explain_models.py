"""The shape of an explanation, for `/openapi.json`. It is the same from the same logs; fields that do not apply are left out."""

from pydantic import BaseModel, Field


class TallyModel(BaseModel):
    """What a step led to."""

    verdict: str
    before: str = Field(description="The verdict before; another one where this step turned it.")
    rule: str = Field(description="From votes to verdict, in words and numbers.")
    passes: int
    fails: int
    unseen: int
    quorum: int


class StepModel(BaseModel):
    """Something that a log says, or that follows from it alone."""

    at: str | None = Field(description="By its author's clocks, to the millisecond.")
    node: str
    log: str
    seq: int = Field(description="The entry behind it.")
    what: str = Field(
        description="result, address, repeated, lapsed, missing, plan, heard, hello, began, event, or a presence."
    )
    text: str
    leads_to: TallyModel | None = Field(default=None, description="Where the count of votes changed.")
    outcome: str | None = Field(default=None, description="Of a result, as all up to `vote`.")
    detail: str | None = None
    run: int | None = Field(default=None, description="How many in a row blame the target, or do not.")
    vote: str | None = None
    address: str | None = Field(default=None, description="Where the name leads now, as are the next two.")
    address_before: str | None = None
    rotates: bool | None = Field(default=None, description="It changes so often that no more of it is told for now.")
    first_seq: int | None = Field(default=None, description="Of what is only counted, or not held: where it begins.")
    counts: dict[str, int] | None = None
    promise_ms: int | None = Field(default=None, description="Of who fell silent: when the next entry was to be there.")
    quiet_ms: int | None = Field(default=None, description="Of who writes again: for how long nothing was written.")
    rebooted: bool | None = None
    type: str | None = Field(default=None, description="Of an event, as are `subject` and `details`.")
    subject: str | None = None
    details: dict[str, str] | None = None
    presence: str | None = Field(default=None, description="Where the member that is asked about changed it.")
    was_writing: bool | None = Field(
        default=None, description="Of an event that a node is missed: whether it wrote then."
    )


class BallotModel(BaseModel):
    """A vantage and its vote."""

    node: str
    vote: str
    excluded: str | None = Field(description="Why it is not counted; null if it is.")
    since: str | None
    outcome: str | None
    detail: str
    seq: int | None


class StandingModel(BaseModel):
    """What was so at one end of the time."""

    verdict: str
    rule: str
    passes: int
    fails: int
    unseen: int
    quorum: int
    definition: str | None
    vantages: list[BallotModel]


class TellingModel(BaseModel):
    """Somebody being told, as the node that did it noted it."""

    node: str
    at: str | None
    seq: int
    type: str
    sink: str | None
    state: str | None


class SpellModel(BaseModel):
    """A time in which the verdict was down, or partial."""

    verdict: str
    onset: str | None = Field(description="The first failure of the runs that fail.")
    from_: str | None = Field(alias="from")
    from_known: bool = Field(description="Whether the logs that were read show it begin.")
    until: str | None
    told: list[TellingModel]


class ReadModel(BaseModel):
    """What of a log was read: all entries, or its events."""

    log: str
    node: str
    read: str
    first_seq: int
    last_seq: int
    last_hash: str | None


class ExplainedModel(BaseModel):
    """Why a check or a member is as it is. `opening` and `closing` are of the ends of the time: of a node, its presence."""

    check: str | None = None
    node: str | None = None
    peer_id: str | None = None
    mesh: str
    since: str | None
    until: str | None
    complete: bool = Field(description="False where so much was written that only the newest was read.")
    entries: int
    opening: StandingModel | str | None
    steps_left_off: int = Field(description="The oldest.")
    steps: list[StepModel]
    spells: list[SpellModel] | None = None
    closing: StandingModel | str | None
    conclusion: str = Field(description="In sentences.")
    logs: list[ReadModel]
