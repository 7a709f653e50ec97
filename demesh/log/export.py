"""Entries as people and other programs read them: one line of text, or a record with everything in it.

Guarantees: a record holds the entry's envelope byte for byte, so whoever has it can verify hash, link and signature
(docs/protocol.md); nothing of a payload is evaluated. An entry of an unknown kind, or whose payload means nothing, is shown
as just that. Texts come as their authors wrote them: who prints them makes them harmless.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, cast

from demesh.errors import EntryError
from demesh.log.bye import read_bye
from demesh.log.carry import CarryPart, read_carry_part
from demesh.log.checkpoint import CheckpointPart, read_checkpoint_part
from demesh.log.dates import iso_ms
from demesh.log.entry import BadRow, Entry, Kind, encode_envelope
from demesh.log.event import Event, read_event
from demesh.log.hello import Hello, read_hello
from demesh.log.plan import PlanPart, read_plan_part
from demesh.log.results import Results, read_results
from demesh.log.rollup import Rollup, read_rollup
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome

DAMAGED = "the stored bytes are damaged"
_HELLOS_TRIED = 4
_SHOWN_MAX = 4  # results in a line of text


class Reader:
    """Tells what entries of a store say. Remembers plans, since results name their checks by index only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: dict[tuple[bytes, int], dict[int, str]] = {}
        self._names: dict[bytes, str] = {}

    def name(self, log: bytes) -> str | None:
        """What the author last called itself; None if the log does not say."""
        for hello in self._store.newest(log, Kind.HELLO, count=_HELLOS_TRIED):
            with suppress(EntryError):  # one of a later version may mean nothing here
                self._names[log] = read_hello(hello).name
        return self._names.get(log)

    def line(self, entry: Entry) -> str:
        """What the entry says, in a few words."""
        try:
            said = self._said(entry)
        except EntryError as error:
            return f"means nothing here: {error}"
        match said:
            case Hello():
                return " ".join([said.name, said.version, *(f"#{tag}" for tag in said.tags)])
            case PlanPart():
                what = ", ".join(row.name for row in said.rows[:_SHOWN_MAX]) + (
                    " …" if len(said.rows) > _SHOWN_MAX else ""
                )
                part = f" (part {said.part + 1} of {said.parts})" if said.parts > 1 else ""
                return f"{len(said.rows)} checks{part}: {what}" if said.rows else "no checks"
            case Results():
                return self._results_line(entry.log, said)
            case Rollup():
                return f"{_date(said.hour * HOUR_MS)} in sums: {_checks(said.rows)}"
            case CheckpointPart():
                part = f" (part {said.part + 1} of {said.parts})" if said.parts > 1 else ""
                seen = f"{len(said.vector)} logs witnessed"
                return f"{_date(said.day * DAY_MS)[:10]} in sums{part}: {_checks(said.rows)}; {seen}"
            case CarryPart():
                part = f" (part {said.part + 1} of {said.parts})" if said.parts > 1 else ""
                days = len({row.day for row in said.rows})
                return f"{len(said.nonces)} epochs are over{part}: {days} days in sums, {len(said.rows)} rows"
            case Event():
                told = " ".join(f"{key}={value}" for key, value in said.details.items())
                return " ".join(filter(None, (said.type, said.subject, told)))
            case None:
                return "of a kind that this version does not know"
            case _:
                return f"{said.reason}, back within {said.back_by_ms // 1_000} s"

    def record(self, row: Entry | BadRow) -> dict[str, Any]:
        """The whole entry, for JSON. `said` is null for what this version cannot read."""
        place = {"log": row.log.hex(), "node": self._names.get(row.log) or self.name(row.log), "seq": row.seq}
        if isinstance(row, BadRow):
            return {**place, "fault": DAMAGED}
        try:
            said = self._said_record(row)
        except EntryError:
            said = None
        return {
            **place,
            "kind": kind_name(row.kind),
            "time": iso_ms(row.wall_ms),
            "wall_ms": row.wall_ms,
            "up_ms": row.up_ms,
            "boot": row.boot8.hex(),
            "next_ms": row.next_ms,
            "hash": row.hash.hex(),
            "prev": row.prev.hex(),
            "signed": bool(row.signature),
            "said": said,
            "envelope": b64encode(encode_envelope(row)).decode("ascii"),
        }

    def _said(self, entry: Entry) -> Any:
        match entry.kind:
            case Kind.HELLO:
                return read_hello(entry)
            case Kind.PLAN:
                return read_plan_part(entry.payload)
            case Kind.RESULTS:
                return read_results(entry.payload, entry.up_ms)
            case Kind.BYE:
                return read_bye(entry.payload)
            case Kind.ROLLUP:
                return read_rollup(entry.payload)
            case Kind.CHECKPOINT:
                return read_checkpoint_part(entry.payload)
            case Kind.CARRY:
                return read_carry_part(entry.payload)
            case Kind.EVENT | Kind.NOTICE:
                return read_event(entry.payload)
            case _:
                return None

    def _said_record(self, entry: Entry) -> Any:
        said = self._said(entry)
        if isinstance(said, Results):
            checks = self._checks(entry.log, said.plan_seq)
            rows = [
                {
                    "check": checks.get(each.check),
                    "outcome": each.outcome.name.lower(),
                    "latency_us": each.latency_us,
                    "detail": each.detail,
                    "age_ms": entry.up_ms - each.up_ms,
                }
                for each in said.results
            ]
            return {"plan_seq": said.plan_seq, "results": rows}
        if isinstance(said, Rollup):
            return {"hour": _date(said.hour * HOUR_MS), "rows": _sums_records(said.rows)}
        if isinstance(said, CheckpointPart):
            place = {"part": said.part, "parts": said.parts, "day": _date(said.day * DAY_MS)[:10]}
            previous = plain([said.previous[0], said.previous[1].seq, said.previous[1].hash]) if said.previous else None
            vector = [plain(asdict(each)) for each in said.vector]
            return {**place, "previous": previous, "rows": _sums_records(said.rows), "vector": vector}
        if isinstance(said, CarryPart):
            place = {"part": said.part, "parts": said.parts, "nonces": plain(said.nonces)}
            rows = [{"day": _date(row.day * DAY_MS)[:10], **_sums_record(row.name, row.sums)} for row in said.rows]
            return {**place, "rows": rows}
        return plain(asdict(said)) if said is not None else None

    def _results_line(self, log: bytes, said: Results) -> str:
        if not said.results:
            return "heartbeat"
        checks = self._checks(log, said.plan_seq)
        shown: list[str] = []
        # What is no pass is shown first: it is what one looks for.
        for each in sorted(said.results, key=lambda result: result.outcome == 0)[:_SHOWN_MAX]:
            took = f" {each.latency_us / 1_000:.0f} ms" if each.latency_us is not None else ""
            detail = f" ({each.detail})" if each.detail else ""
            shown.append(f"{checks.get(each.check, '?')} {each.outcome.name.lower()}{took}{detail}")
        more = len(said.results) - len(shown)
        return ", ".join(shown) + (f", {more} more" if more else "")

    def _checks(self, log: bytes, plan_seq: int) -> dict[int, str]:
        """The names of the checks in the plan that begins at `plan_seq`, by index; empty if it is not there."""
        known = self._plans.get((log, plan_seq))
        if known is None:
            known = self._plans[log, plan_seq] = self._read_plan(log, plan_seq)
        return known

    def _read_plan(self, log: bytes, plan_seq: int) -> dict[int, str]:
        names: list[str] = []
        seq, parts = plan_seq, 1
        while seq < plan_seq + parts:
            found, _ = self._store.read(log, seq, seq)
            try:
                part = read_plan_part(found[0].payload) if found and found[0].kind == Kind.PLAN else None
            except EntryError:
                part = None
            if part is None:
                return {}
            names.extend(row.name for row in part.rows)
            seq, parts = seq + 1, part.parts
        return dict(enumerate(names))


def chosen(reader: Reader, states: Iterable[LogState], wanted: str | None) -> list[LogState]:
    """The logs that `wanted` means: a node's name, or the beginning of a log's id; all if it is None."""
    return [
        state
        for state in states
        if wanted is None
        or wanted == reader.name(state.log)
        or (len(wanted) >= 4 and state.log.hex().startswith(wanted))
    ]


def kind_name(kind: int) -> str:
    return Kind(kind).name.lower() if kind in tuple(Kind) else str(kind)


def _checks(rows: Mapping[str, Sums]) -> str:
    return f"{len(rows)} {'check' if len(rows) == 1 else 'checks'}"


def _date(wall_ms: int) -> str:
    return iso_ms(wall_ms) or "?"


def _sums_records(rows: Mapping[str, Sums]) -> list[dict[str, Any]]:
    return [_sums_record(name, sums) for name, sums in sorted(rows.items())]


def _sums_record(name: str, sums: Sums) -> dict[str, Any]:
    return {
        "check": name,
        "outcomes": {outcome.name.lower(): sums.counts[outcome] for outcome in Outcome},
        "up_ms": sums.up_ms,
        "down_ms": sums.down_ms,
    }


def plain(value: Any) -> Any:
    """A decoded payload for JSON: byte strings as hex."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast(Sequence[Any], value)]
    return value.hex() if isinstance(value, bytes) else value
