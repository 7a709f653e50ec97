"""Asking a member to try something once, `/demesh/ask/1`: the messages, and who may ask how often. Pure.

    asker                          asked
    ASK row                   ──>
                              <──  ANSWER outcome, detail, latency, phases, address, status, expiry
                              <──  REFUSED code, sentence            instead

The row is one of a plan (docs/protocol.md), so who is asked can tell by its definition hash that it is of this mesh, whole, and
understood as it was meant. One question, one answer, then both close. Messages are framed as those of sync. Malformed fields
raise EntryError, all else SyncError.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from demesh import limits
from demesh.errors import SyncError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.plan import PlanRow, read_row
from demesh.outcome import Outcome, ProbeResult, fit_detail

_MINUTE_MS = 60_000


class Message(IntEnum):
    ASK = 1
    ANSWER = 2
    REFUSED = 3


class Refused(IntEnum):
    """Why a member says no."""

    POLICY = 1  # its owner does not want it
    RATE = 2  # too often, or too many at once
    CANNOT = 3  # nothing that it could run
    MALFORMED = 4  # the message makes no sense


@dataclass(frozen=True, slots=True)
class No:
    """A refusal."""

    code: int
    sentence: str


def question(row: PlanRow) -> bytes:
    return encode([Message.ASK, row.value()])


def read_question(data: bytes) -> PlanRow:
    """Raises EntryError, SyncError."""
    fields = _fields(data, Message.ASK)[1]
    return read_row(fields.array("row", 64))


def answer(result: ProbeResult) -> bytes:
    """The answer that tells `result`, as far as others may know it."""
    phases: list[Value] = []
    for name, us in list(result.phases_us.items())[: limits.ASK_PHASES_MAX]:
        phases += [name, max(0, us)]
    return encode(
        [
            Message.ANSWER,
            int(result.outcome),
            fit_detail(result.detail),
            [] if result.latency_us is None else [max(0, result.latency_us)],
            phases,
            result.address or "",
            result.status or 0,
            max(0, result.certificate_expires_s or 0),
        ]
    )


def refusal(code: Refused, sentence: str) -> bytes:
    return encode([Message.REFUSED, code, sentence[: limits.TEXT_CHARS_MAX]])


def read_answer(data: bytes) -> ProbeResult | No:
    """Raises EntryError, SyncError."""
    kind, fields = _fields(data, Message.ANSWER, Message.REFUSED)
    if kind == Message.REFUSED:
        return No(fields.uint("code", 255), fields.text("sentence"))
    outcome = fields.uint("outcome", max(Outcome))
    detail = fields.text("detail")
    latencies = fields.uints("latency", 1, limits.TIME_MS_MAX)
    phases = _read_phases(fields.array("phases", 2 * limits.ASK_PHASES_MAX))
    address = fields.text("address", limits.NAME_CHARS_MAX)
    status = fields.uint("status", 999)
    expires_s = fields.uint("expiry", limits.TIME_MS_MAX)
    return ProbeResult(
        Outcome(outcome),
        latencies[0] if latencies else None,
        fit_detail(detail),
        phases,
        expires_s or None,
        address or None,
        status or None,
    )


def _read_phases(values: list[Value]) -> dict[str, int]:
    fields = Fields(values, "the phases")
    phases: dict[str, int] = {}
    while fields.more:
        name = fields.text("name", limits.NAME_CHARS_MAX)
        phases[name] = fields.uint("duration", limits.TIME_MS_MAX)
    return phases


def _fields(data: bytes, *expected: Message) -> tuple[int, Fields]:
    fields = Fields(decode(data), "the message")
    if (kind := fields.uint("type", 255)) not in expected:
        raise SyncError("the peer sent a message that does not belong here", Refused.MALFORMED)
    return kind, fields


class Turnstile:
    """Lets members in, each so often and so many at once, and so many of all; times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._inside: dict[bytes, int] = {}
        self._entered: deque[tuple[int, bytes]] = deque()

    def enter(self, member: bytes, now_ms: int) -> str | None:
        """None if the member is in, and then has to `leave`; else which bound it is that keeps it out."""
        while self._entered and now_ms - self._entered[0][0] >= _MINUTE_MS:
            self._entered.popleft()
        of_member = sum(who == member for _, who in self._entered)
        if self._inside.get(member, 0) >= limits.ASKED_AT_ONCE_PER_MEMBER_MAX:
            return "member_busy"
        if sum(self._inside.values()) >= limits.ASKED_AT_ONCE_MAX:
            return "busy"
        if of_member >= limits.ASKED_PER_MEMBER_PER_MINUTE_MAX:
            return "member_rate"
        if len(self._entered) >= limits.ASKED_PER_MINUTE_MAX:
            return "rate"
        self._entered.append((now_ms, member))
        self._inside[member] = self._inside.get(member, 0) + 1
        return None

    def leave(self, member: bytes) -> None:
        self._inside[member] -= 1
        if not self._inside[member]:
            del self._inside[member]
