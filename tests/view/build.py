"""Members that write entries, and a view that reads them, for tests of what logs mean. Nothing is signed: nobody looks here."""

import hashlib
from collections.abc import Sequence

from demesh.log.bye import Bye
from demesh.log.codec import Value
from demesh.log.entry import NO_HASH, Entry, Kind, decode_body, encode_body, log_id
from demesh.log.hello import Hello, PresenceProfile
from demesh.log.plan import PlanRow, split_plan
from demesh.log.results import Result, Results
from demesh.outcome import Outcome
from demesh.view.checks import CheckView
from demesh.view.fold import View

PASS, FAIL, MISMATCH, TIMEOUT, ERROR = Outcome
WALL_MS = 1_700_000_000_000
NEXT_MS = 25_000
"""What the members promise unless told otherwise: silent after this and ten seconds more."""


def row(name: str = "web", **changed: object) -> PlanRow:
    """A row of a plan. Rows that differ have different definitions."""
    fields = {
        "type": "http",
        "target": f"https://{name}.example.net/",
        "runs": True,
        "interval_ms": 60_000,
        "timeout_ms": 10_000,
        "retry_interval_ms": 10_000,
        "fail_after": 2,
        "recover_after": 2,
        "quorum": 0,
        "severity": "critical",
        **changed,
    }
    defining = repr(sorted((key, value) for key, value in fields.items() if key not in ("runs", "parked")))
    definition = hashlib.blake2b(f"{name} {defining}".encode(), digest_size=16).digest()
    return PlanRow(name=name, definition=definition, **fields)  # pyright: ignore[reportArgumentType]


class MemberLog:
    """One log, entry after entry. `skew_ms` is how wrong its author's wall clock is."""

    def __init__(self, name: str, epoch: int = 0, boot: int = 0, skew_ms: int = 0, presence: int = 0) -> None:
        self.name = name
        self.key = hashlib.blake2b(name.encode(), digest_size=32).digest()
        self.boot8 = b"boot%04d" % boot
        self.skew_ms = skew_ms
        self._presence = PresenceProfile(presence)
        self._nonce = b"epoch%03d" % epoch
        self.log = log_id(self.key, self._nonce)
        self._seq = 0
        self._prev = NO_HASH
        self._plan_seq = 0

    def entry(self, kind: int, payload: Value, up_ms: int, next_ms: int = NEXT_MS) -> Entry:
        wall_ms = WALL_MS + up_ms + self.skew_ms
        body = encode_body(self.log, self._seq, self._prev, wall_ms, up_ms, self.boot8, next_ms, kind, payload)
        made = decode_body(body)
        self._seq, self._prev = made.seq + 1, made.hash
        return made

    def hello(self, up_ms: int, name: str | None = None, **changed: object) -> Entry:
        fields = {"name": name or self.name, "version": "1.2.3", "presence": self._presence, **changed}
        said = Hello(public_key=self.key, epoch_nonce=self._nonce, **fields)  # pyright: ignore[reportArgumentType]
        return self.entry(Kind.HELLO, said.payload(), up_ms)

    def plan(self, up_ms: int, *rows: PlanRow) -> Entry:
        (part,) = split_plan(rows)
        self._plan_seq = self._seq
        return self.entry(Kind.PLAN, part.payload(), up_ms)

    def results(self, up_ms: int, *results: Result, plan_seq: int | None = None, next_ms: int = NEXT_MS) -> Entry:
        """Without results it is the heartbeat. The plan is this log's last one unless `plan_seq` names another."""
        said = Results(self._plan_seq if plan_seq is None else plan_seq, results)
        return self.entry(Kind.RESULTS, said.payload(up_ms), up_ms, next_ms)

    def outcomes(self, up_ms: int, *outcomes: Outcome, check: int = 0) -> Entry:
        """Results of one check, all at the entry's own time."""
        return self.results(up_ms, *(result(each, up_ms, check) for each in outcomes))

    def bye(self, up_ms: int, back_by_ms: int = 600_000) -> Entry:
        return self.entry(Kind.BYE, Bye("stopped", back_by_ms).payload(), up_ms)

    def start(self, up_ms: int, *rows: PlanRow) -> list[Entry]:
        """What every log begins with."""
        return [self.hello(up_ms), self.plan(up_ms, *rows)]


def result(outcome: Outcome, up_ms: int, check: int = 0, **changed: object) -> Result:
    detail = "" if outcome == Outcome.PASS else f"said {outcome.name.lower()}"
    return Result(check, up_ms, outcome, **{"latency_us": 12_300, "detail": detail, **changed})  # pyright: ignore[reportArgumentType]


OWN = MemberLog("own")


def new_view(now_ms: int = 0) -> View:
    return View(OWN.key, now_ms)


def deliver(
    view: View, author: MemberLog, entries: Entry | Sequence[Entry], at_ms: int, *, first_hand: bool = True
) -> None:
    """`entries` arrive at `at_ms`, over their author's own connection unless it is said otherwise."""
    for entry in [entries] if isinstance(entries, Entry) else entries:
        view.apply(author.key, entry, at_ms, first_hand=first_hand)


def presence_of(view: View, author: MemberLog, now_ms: int) -> str:
    member = view.member(author.key)
    assert member is not None
    return str(view.presence(member, now_ms))


def check_of(view: View, now_ms: int, name: str = "web") -> CheckView:
    return next(check for check in view.checks(now_ms) if check.row.name == name)


def votes_of(view: View, now_ms: int, name: str = "web") -> dict[str, str]:
    """The votes of the assigned vantages, by the name that the member's hello gives."""
    found: dict[str, str] = {}
    for vantage in check_of(view, now_ms, name).vantages:
        hello = vantage.member.current.hello
        if vantage.assigned and hello:
            found[hello.name] = str(vantage.vote)
    return found


def three_vantages(view: View, *rows: PlanRow, at_ms: int = 0) -> list[MemberLog]:
    """Members a, b and c, all heard first-hand at `at_ms` (also their up time) with `rows` as their plan."""
    members = [MemberLog(name) for name in "abc"]
    for member in members:
        deliver(view, member, member.start(at_ms, *rows), at_ms)
    return members
