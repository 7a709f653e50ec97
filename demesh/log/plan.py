"""The payload `plan`: what the author checks, as far as others may know it.

    [part, parts, rows, sinks]
    row = [name, type, target, definition16, runs, interval_ms, timeout_ms, retry_interval_ms, fail_after, recover_after,
           quorum, severity, nodes, labels, options, spread, takes_part, whole, keys, origin, flags, depends_on, runbook]

A plan is spread over `parts` entries that follow each other in the log; it is named by the sequence number of its first
part and is valid once all parts are there. Results name their plan and then only the index of a row, counted over all
parts. The newest valid plan is the author's current one.

`target` has no user info, query or fragment. `definition16` is a keyed hash over everything that decides a vote, so nodes
can tell whether they check the same thing without telling what its secrets are. `runs` is 1 if the author is a vantage of
the check, 0 if it only knows it. `quorum` is 0 for the majority, 65535 for all, else a number of vantages. `labels` and
`options` are keys and values in turn; the values of options are JSON. `sinks` are keyed digests of where the author can
deliver notifications.

`spread` is 0 if all that are selected run the check, else how many of those do whose `takes_part` is 1: that is so where
`nodes` selects the author and the check is not paused there. `keys` are like `options`: what else of the check's definition
others may know. `whole` is 1 if a node that reads the row knows all it takes to run the check. `origin` is the key of the
member from whose plan the author took the check over, empty for a check of its own. `flags` add up: 1 nobody is notified of
the check, 2 it is an anchor (its target is held to be up always, so that when all anchors fail it is the node that is cut
off), 4 it is paused, 8 it is parked: a server of a list that never answered the author, who lets it rest, 16 a server of a
list has answered once, as the author knows. `depends_on` are the names of the checks without which it is not up, `runbook` is
a URL. A row may end before `spread`, or before `flags`: then what follows is 0 and empty.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, encode, values
from demesh.log.entry import Kind
from demesh.log.parts import Parts

QUORUM_MAJORITY = 0
QUORUM_ALL = 65_535
_QUIET, _ANCHOR, _PAUSED, _PARKED, _ANSWERED = 1, 2, 4, 8, 16
_FLAGS_MAX = 2**32 - 1
_PART_BYTES_MAX = limits.ENTRY_BYTES_MAX - 1_024


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One check as its log tells of it."""

    name: str
    type: str
    target: str
    definition: bytes
    runs: bool
    interval_ms: int
    timeout_ms: int
    retry_interval_ms: int
    fail_after: int
    recover_after: int
    quorum: int
    severity: str
    nodes: tuple[str, ...] = ("*",)
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    spread: int = 0
    takes_part: bool = False
    whole: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    origin: bytes = b""
    notify: bool = True
    anchor: bool = False
    paused: bool = False
    depends_on: tuple[str, ...] = ()
    runbook: str = ""
    parked: bool = False
    answered: bool = False

    @property
    def listed(self) -> bool:
        """Whether its target is a public server out of a list."""
        return ("listed", "true") in self.keys

    def value(self) -> Value:
        later: list[Value] = [self.spread, int(self.takes_part), int(self.whole), _flat(self.keys), self.origin]
        flags = (
            _QUIET * (not self.notify)
            + _ANCHOR * self.anchor
            + _PAUSED * self.paused
            + _PARKED * self.parked
            + _ANSWERED * self.answered
        )
        last: list[Value] = [flags, values(self.depends_on), self.runbook]
        if any(last):
            later += last
        return [
            self.name,
            self.type,
            self.target,
            self.definition,
            int(self.runs),
            self.interval_ms,
            self.timeout_ms,
            self.retry_interval_ms,
            self.fail_after,
            self.recover_after,
            self.quorum,
            self.severity,
            values(self.nodes),
            _flat(self.labels),
            _flat(self.options),
            *(later if any(later) else ()),
        ]


@dataclass(frozen=True, slots=True)
class PlanPart:
    """One entry's share of a plan."""

    part: int
    parts: int
    rows: tuple[PlanRow, ...]
    sinks: tuple[bytes, ...] = ()

    def payload(self) -> Value:
        return [self.part, self.parts, values([row.value() for row in self.rows]), values(self.sinks)]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. `seq` is the sequence number of its first part in its log."""

    seq: int
    rows: tuple[PlanRow, ...]
    sinks: tuple[bytes, ...] = ()


def split_plan(rows: Sequence[PlanRow], sinks: Sequence[bytes] = ()) -> list[PlanPart]:
    """`rows` in parts that each fit an entry. Raises EntryError("too_large") when one row alone, or their number, does not."""
    groups: list[list[PlanRow]] = [[]]
    size = 0
    for row in rows:
        row_size = len(encode(row.value()))
        if row_size > _PART_BYTES_MAX:
            raise EntryError(
                "too_large",
                f"the definition of check {row.name!r} takes {row_size} bytes; at most {_PART_BYTES_MAX} fit",
            )
        if size + row_size > _PART_BYTES_MAX:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += row_size
    if len(groups) > limits.PLAN_PARTS_MAX:
        raise EntryError("too_large", f"a plan of {len(groups)} parts; at most {limits.PLAN_PARTS_MAX} are allowed")
    return [PlanPart(part, len(groups), tuple(group), tuple(sinks)) for part, group in enumerate(groups)]


def read_plan_part(payload: Value) -> PlanPart:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the plan")
    part = fields.uint("part", limits.PLAN_PARTS_MAX - 1)
    parts = fields.uint("number of parts", limits.PLAN_PARTS_MAX, part + 1)
    rows = tuple(read_row(row) for row in fields.array("rows", limits.ENTRY_BYTES_MAX))
    sinks = Fields(fields.array("sinks", limits.LABELS_MAX), "the sinks")
    return PlanPart(part, parts, rows, tuple(sinks.rest_octets("sink", 16)))


class PlanReader:
    """Puts the plans of one log together, from its entries in order."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: Parts[PlanPart] = Parts()

    def add(self, seq: int, kind: int, payload: Value) -> Plan | None:
        """The plan that this entry completes, if it does. Raises EntryError("shape") for a bad plan entry.

        Anything between the parts of a plan ends it: the author wrote them in one go.
        """
        if kind != Kind.PLAN:
            self._parts.give_up()
            return None
        part = read_plan_part(payload)
        found = self._parts.add(seq, part.part, part.parts, part)
        first_seq, parts = found or (seq, self._parts.gathered)
        if sum(len(each.rows) for each in parts) > limits.CHECKS_MAX:
            self._parts.give_up()
            raise EntryError("shape", f"a plan of more than {limits.CHECKS_MAX} checks")
        if found is None:
            return None
        return Plan(first_seq, tuple(row for each in parts for row in each.rows), parts[0].sinks)


def read_row(value: Value) -> PlanRow:
    """Raises EntryError("shape")."""
    fields = Fields(value, "a row of the plan")
    row = PlanRow(
        name=fields.text("name", limits.NAME_CHARS_MAX, 1),
        type=fields.text("type", limits.NAME_CHARS_MAX, 1),
        target=fields.text("target"),
        definition=fields.octets("definition hash", 16),
        runs=bool(fields.uint("runs", 1)),
        interval_ms=fields.uint("interval", limits.INTERVAL_MS_MAX, 1),
        timeout_ms=fields.uint("timeout", limits.TIMEOUT_MS_MAX, 1),
        retry_interval_ms=fields.uint("retry interval", limits.INTERVAL_MS_MAX, 1),
        fail_after=fields.uint("fail_after", 1_000, 1),
        recover_after=fields.uint("recover_after", 1_000, 1),
        quorum=fields.uint("quorum", QUORUM_ALL),
        severity=fields.text("severity", limits.NAME_CHARS_MAX),
        nodes=fields.texts("nodes", limits.LOGS_MAX),
        labels=tuple(_pairs(fields.texts("labels", 2 * limits.LABELS_MAX))),
        options=tuple(_pairs(fields.texts("options", 2 * limits.LABELS_MAX))),
    )
    if not fields.more:
        return row
    row = replace(
        row,
        spread=fields.uint("spread", limits.SPREAD_MAX),
        takes_part=bool(fields.uint("takes_part", 1)),
        whole=bool(fields.uint("whole", 1)),
        keys=tuple(_pairs(fields.texts("keys", 2 * limits.LABELS_MAX))),
        origin=fields.octets("origin", 0, 32),
    )
    if not fields.more:
        return row
    flags = fields.uint("flags", _FLAGS_MAX)
    return replace(
        row,
        notify=not flags & _QUIET,
        anchor=bool(flags & _ANCHOR),
        paused=bool(flags & _PAUSED),
        parked=bool(flags & _PARKED),
        answered=bool(flags & _ANSWERED),
        depends_on=fields.texts("depends_on", limits.DEPENDENCIES_MAX),
        runbook=fields.text("runbook"),
    )


def _flat(pairs: Iterable[tuple[str, str]]) -> Value:
    return [text for pair in pairs for text in pair]


def _pairs(texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if len(texts) % 2:
        raise EntryError("shape", "a row of the plan: keys and values must alternate")
    return zip(texts[::2], texts[1::2], strict=True)
