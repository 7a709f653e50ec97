"""The payload `results`: what the author's checks said since its last entry. Without rows it is the author's heartbeat.

    [plan_seq, times, checks, outcomes, latencies, details]

Columns of equal length, in the order in which the results became known:
`times` in ms, the first counted back from the entry's own time, each other counted forward from the one before;
`checks` the index of a row in the plan that begins at `plan_seq`; `outcomes` a byte each; `latencies` in units of 100 µs,
0 where there is none. `details` are sparse, `[result, field, value]`: 0 text (the failed expectation with its actual value,
or why there was no answer, at most 200 bytes), 1 certificate expiry (Unix time in seconds), 2 address probed (text),
3 lateness of the node's own loop (ms), 4 the other address and port of a STUN server (text). A field that one does not know is
skipped. Fields 1, 2 and 4 are written when they change and repeated now and then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, values
from demesh.outcome import Outcome, fit_detail

_TEXT, _CERTIFICATE, _ADDRESS, _LATENESS, _OTHER_ADDRESS = range(5)
_LATENCY_UNIT_US = 100
_LATENCY_UNITS_MAX = limits.TIMEOUT_MS_MAX * 1_000 // _LATENCY_UNIT_US


class Result(NamedTuple):
    """One run of a check. `up_ms` is when it ended, on the author's up clock; `latency_us` is kept to 100 µs.

    A tuple for the same reason as `Entry`.
    """

    check: int
    up_ms: int
    outcome: Outcome
    latency_us: int | None = None
    detail: str = ""
    certificate_expires_s: int | None = None
    address: str | None = None
    lateness_ms: int = 0
    other_address: str | None = None


@dataclass(frozen=True, slots=True)
class Results:
    plan_seq: int
    results: tuple[Result, ...]

    def payload(self, entry_up_ms: int) -> Value:
        """The payload for an entry of the time `entry_up_ms`, which no result may be later than."""
        times: list[Value] = []
        before = 0
        for result in self.results:
            times.append(result.up_ms - before if times else entry_up_ms - result.up_ms)
            before = result.up_ms
        return [
            self.plan_seq,
            times,
            values([result.check for result in self.results]),
            bytes(result.outcome for result in self.results),
            values([_latency_units(result.latency_us) for result in self.results]),
            _details(self.results),
        ]


def read_results(payload: Value, entry_up_ms: int) -> Results:
    """The results in the payload of an entry of the time `entry_up_ms`. Raises EntryError("shape").

    An outcome that this version does not know is read as ERROR, which blames nobody.
    """
    fields = Fields(payload, "the results")
    most = limits.RESULTS_PER_ENTRY_MAX
    plan_seq = fields.uint("plan", limits.SEQ_MAX)
    times = fields.uints("times", most, limits.TIME_MS_MAX)
    checks = fields.uints("checks", most, limits.CHECKS_MAX)
    outcomes = fields.octets("outcomes")
    latencies = fields.uints("latencies", most, _LATENCY_UNITS_MAX)
    details = fields.array("details", 8 * most)
    if not len(times) == len(checks) == len(outcomes) == len(latencies):
        raise EntryError("shape", "the results: the columns differ in length")
    if not times:
        return Results(plan_seq, ())
    known = _read_details(details, len(times))
    up_ms = entry_up_ms - times[0]
    if up_ms < 0 or up_ms + sum(times[1:]) > entry_up_ms:
        raise EntryError("shape", "the results: a time lies outside the entry's past")
    found: list[Result] = []
    for index, (step_ms, check, outcome, latency) in enumerate(zip(times, checks, outcomes, latencies, strict=True)):
        up_ms += step_ms if index else 0
        text, certificate, address, lateness, other_address = known.get(index, _NO_DETAILS)
        found.append(
            Result(
                check=check,
                up_ms=up_ms,
                outcome=_OUTCOMES.get(outcome, Outcome.ERROR),
                latency_us=latency * _LATENCY_UNIT_US if latency else None,
                detail=text,
                certificate_expires_s=certificate,
                address=address,
                lateness_ms=lateness,
                other_address=other_address,
            )
        )
    return Results(plan_seq, tuple(found))


_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
_Details = tuple[str, int | None, str | None, int, str | None]
_NO_DETAILS: _Details = ("", None, None, 0, None)


def _latency_units(latency_us: int | None) -> int:
    if latency_us is None:
        return 0
    return min(max(1, round(latency_us / _LATENCY_UNIT_US)), _LATENCY_UNITS_MAX)


def _details(results: Sequence[Result]) -> Value:
    found: list[Value] = []
    for index, result in enumerate(results):
        if result.detail:
            found.append([index, _TEXT, fit_detail(result.detail)])
        if result.certificate_expires_s is not None:
            found.append([index, _CERTIFICATE, max(0, result.certificate_expires_s)])
        if result.address is not None and len(result.address) <= limits.NAME_CHARS_MAX:
            found.append([index, _ADDRESS, result.address])
        if result.lateness_ms:
            found.append([index, _LATENESS, result.lateness_ms])
        if result.other_address is not None and len(result.other_address) <= limits.NAME_CHARS_MAX:
            found.append([index, _OTHER_ADDRESS, result.other_address])
    return found


def _read_details(details: Sequence[Value], length: int) -> dict[int, _Details]:
    found: dict[int, _Details] = {}
    for detail in details:
        fields = Fields(detail, "a detail")
        index = fields.uint("result", length - 1)
        which = fields.uint("field", 2**16 - 1)
        text, certificate, address, lateness, other_address = found.get(index, _NO_DETAILS)
        match which:
            case 0:
                text = fields.text("text", limits.DETAIL_BYTES_MAX)
            case 1:
                certificate = fields.uint("certificate expiry", limits.TIME_MS_MAX)
            case 2:
                address = fields.text("address", limits.NAME_CHARS_MAX)
            case 3:
                lateness = fields.uint("lateness", limits.TIME_MS_MAX)
            case 4:
                other_address = fields.text("other address", limits.NAME_CHARS_MAX)
            case _:
                continue
        found[index] = (text, certificate, address, lateness, other_address)
    return found
