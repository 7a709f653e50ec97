"""Explains a check or a member from logs that are held: by a running node, by a store without its node, or in an export.

What is read is the same wherever it is read: of each log, from the last entry dated before the window and a while of
preparation to the last one dated in it, with the hello and the plans that this builds on. So is what is told; it names the
entries that it was told from. Of logs that neither run the check nor are the member's own, only what is no results is read, for
their events.

Dates are searched by halves, as the logs hold them: where an author's clock was set back for long, some entries of the window
may lie beyond what is found.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from demesh import limits
from demesh.config.moment import parse_moment
from demesh.config.problems import nearest
from demesh.errors import EntryError, UsageError
from demesh.identity import peer_id
from demesh.log.dates import iso_ms
from demesh.log.entry import Entry, Kind
from demesh.log.held import Held
from demesh.log.plan import PlanRow, read_plan_part
from demesh.log.replay import context
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.view.concern import Concern
from demesh.view.explain import Replay
from demesh.view.explain_node import trace_node
from demesh.view.explain_report import check_told, node_told
from demesh.view.names import told_apart
from demesh.view.story import Fact, Story, Told
from demesh.view.vote import fresh_ms

Json = dict[str, Any]
Work = Generator[None, None, Json]
"""Explains piece by piece: after each, others may take a turn."""

CHECK, NODE = "check", "node"
_NAMES_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Question:
    """`kind` says what the name is of, where that may be either."""

    name: str
    since_ms: int
    until_ms: int
    kind: str | None = None


@dataclass(slots=True)
class _Part:
    """What is told of one log: its entries from `first` to `last`; none are in the window if `empty`."""

    state: LogState
    first: int
    last: int
    empty: bool
    newest_ms: int
    context: list[Entry] = field(default_factory=list[Entry])
    others: list[Entry] = field(default_factory=list[Entry])
    """What is no results."""
    name: str = ""
    cut: bool = False

    @property
    def key(self) -> bytes:
        return self.state.public_key

    def rows(self) -> list[PlanRow]:
        found: list[PlanRow] = []
        for entry in (*self.context, *self.others):
            if entry.kind == Kind.PLAN:
                try:
                    found.extend(read_plan_part(entry.payload).rows)
                except EntryError:
                    continue
        return found


def question_of(name: str, kind: str | None, since: str | None, until: str | None, now_ms: int) -> Question:
    """What is asked about, in absolute times. Without `since`: the day before `until`. Raises UsageError."""
    if kind not in (None, CHECK, NODE):
        raise UsageError(f"kind: {kind!r} is none; it is {CHECK} or {NODE}.")
    try:
        until_ms = parse_moment(until, now_ms) if until else now_ms
        since_ms = parse_moment(since, now_ms) if since else max(0, until_ms - limits.EXPLAIN_WINDOW_MS_DEFAULT)
    except ValueError as error:
        raise UsageError(f"since, until: {error}.") from None
    if since_ms > until_ms:
        raise UsageError("since, until: the time begins after it ends.")
    return Question(name, since_ms, until_ms, kind)


def explain(held: Held, question: Question) -> Work:
    """Raises UsageError where nothing, or more than one thing, is called so."""
    parts: list[_Part] = []
    for state in sorted(held.logs(), key=lambda state: state.log):
        yield
        part = _part(held, state, question, limits.EXPLAIN_LEAD_MS_MIN)
        if part is not None:
            parts.append(part)
    _cut(parts)
    for part in parts:
        yield
        _read_others(held, part)
    names = _names(parts)
    if _kind(question, parts, names) == CHECK:
        return (yield from _explain_check(held, question, parts, names))
    return (yield from _explain_node(held, question, parts, names))


async def explain_in_background(storage: Storage, question: Question) -> Json:
    """The same of a running node's store, a page at a time. Raises UsageError, StoreError."""
    work = await storage.call(lambda store: explain(store, question))
    while True:
        found = await storage.call(lambda _: step(work))
        if found is not None:
            return found


def step(work: Work) -> Json | None:
    """Do the next piece; returns what is told once all is done."""
    try:
        next(work)
    except StopIteration as done:
        return done.value
    return None


def explain_at_once(held: Held, question: Question) -> Json:
    work = explain(held, question)
    while True:
        found = step(work)
        if found is not None:
            return found


def newest_ms(held: Held, now_ms: int) -> int:
    """When logs end that nobody writes any more: the newest date that a log ends with and that is not to come yet."""
    dates = [held.wall_ms_at(state.log, state.head.seq) or 0 for state in held.logs()]
    return max((date for date in dates if date <= now_ms), default=now_ms)


def _explain_check(held: Held, question: Question, parts: Sequence[_Part], names: dict[bytes, str]) -> Work:
    check = question.name
    rows = {part.state.log: [row for row in part.rows() if row.name == check] for part in parts}
    holding = _newest_epochs([part for part in parts if rows[part.state.log]])
    facts: list[Fact] = []
    entries = 0
    read: list[Json] = []
    chosen = {part.state.log for part in holding}
    for part in parts:
        story = Story(part.state.log, part.key, question.since_ms, check)
        if part.state.log in chosen:
            lead_ms = max(map(_lead_ms, rows[part.state.log]))
            part = _further_back(held, part, question, lead_ms)
            entries += yield from _read_all(held, part, story)
            facts.extend(story.facts())
        else:
            entries += _read_events(part, story)
            facts.extend(fact for fact in story.facts() if isinstance(fact.said, Told))
        _note_read(held, read, part, names, whole=part.state.log in chosen)
    concern = _concern({check}, facts)
    yield
    trace = Replay(concern, question.since_ms).trace(facts, question.until_ms)
    told = check_told(check, trace, names)
    return {CHECK: check, **_frame(held, question, parts, entries), **told, "logs": read}


def _explain_node(held: Held, question: Question, parts: Sequence[_Part], names: dict[bytes, str]) -> Work:
    (key,) = _keys(question.name, parts, names)
    own = {part.state.log for part in _newest_epochs([part for part in parts if part.key == key])}
    facts: list[Fact] = []
    entries = 0
    read: list[Json] = []
    for part in parts:
        story = Story(part.state.log, part.key, question.since_ms, None)
        if part.state.log in own:
            entries += yield from _read_all(held, part, story)
            facts.extend(story.facts())
        elif part.key != key:
            entries += _read_events(part, story)
            facts.extend(fact for fact in story.facts() if isinstance(fact.said, Told))
        _note_read(held, read, part, names, whole=part.state.log in own)
    called = {names[key], peer_id(key), *(part.name for part in parts if part.key == key)} - {""}
    yield
    trace = trace_node(key, facts, _concern(called, facts), question.since_ms, question.until_ms)
    told = node_told(names[key], key, trace, names)
    return {NODE: names[key], **_frame(held, question, parts, entries), **told, "logs": read}


def _frame(held: Held, question: Question, parts: Sequence[_Part], entries: int) -> Json:
    return {
        "mesh": held.mesh_id().hex()[:8],
        "since": iso_ms(question.since_ms),
        "until": iso_ms(question.until_ms),
        "complete": not any(part.cut for part in parts),
        "entries": entries,
    }


def _part(held: Held, state: LogState, question: Question, lead_ms: int) -> _Part | None:
    """None of a log that begins after the window."""
    end = _seq_at(held, state, question.until_ms + 1)
    if end == 0:
        return None
    begin = _seq_at(held, state, question.since_ms - lead_ms)
    last = end - 1
    newest = held.wall_ms_at(state.log, last) or 0
    return _Part(state, max(0, begin - 1), last, begin >= end, newest)


def _further_back(held: Held, part: _Part, question: Question, lead_ms: int) -> _Part:
    """The same with a longer preparation, for checks that run rarely."""
    if lead_ms <= limits.EXPLAIN_LEAD_MS_MIN or part.cut:
        return part
    longer = _part(held, part.state, question, lead_ms)
    if longer is None or longer.last - longer.first >= limits.EXPLAIN_ENTRIES_MAX:
        return part
    longer.context = context(held, longer.state.log, longer.first)
    return longer


def _seq_at(held: Held, state: LogState, wall_ms: int) -> int:
    """The first entry from which on a log is dated `wall_ms` or later; behind its head if none is."""
    low, high = 0, state.head.seq + 1
    while low < high:
        middle = (low + high) // 2
        found = held.wall_ms_at(state.log, middle)
        if found is not None and found < wall_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _cut(parts: Sequence[_Part]) -> None:
    """Keep what is read of all logs within bounds: each has an equal share, the newest of it."""
    told = [part for part in parts if not part.empty]
    if sum(part.last - part.first + 1 for part in told) <= limits.EXPLAIN_ENTRIES_MAX:
        return
    share = max(1, limits.EXPLAIN_ENTRIES_MAX // len(told))
    for part in told:
        if part.last - part.first + 1 > share:
            part.first, part.cut = part.last - share + 1, True


def _read_others(held: Held, part: _Part) -> None:
    part.context = context(held, part.state.log, part.first)
    if not part.empty:
        first = part.first
        while first <= part.last:
            found = held.read_but_results(part.state.log, first, part.last + 1, bytes_max=limits.EXPLAIN_PAGE_BYTES)
            if not found:
                break
            part.others.extend(found)
            first = found[-1].seq + 1
    story = Story(part.state.log, part.key, 0, None)
    for entry in (*part.context, *part.others):
        if entry.kind == Kind.HELLO:
            story.build_on(entry)
    part.name = story.hello.name if story.hello else ""


def _read_all(held: Held, part: _Part, story: Story) -> Generator[None, None, int]:
    """Have the story take all of a log; returns how many entries that were."""
    for entry in part.context:
        story.build_on(entry)
    first, number = part.first, 0
    while first <= part.last:
        yield
        page = held.read_on(part.state.log, first, bytes_max=limits.EXPLAIN_PAGE_BYTES)
        for entry in page:
            if entry.seq <= part.last:
                story.take(entry)
                number += 1
        if not page:
            break
        first = page[-1].seq + 1
    return number


def _read_events(part: _Part, story: Story) -> int:
    for entry in part.others:
        story.take(entry)
    return len(part.others)


def _note_read(held: Held, read: list[Json], part: _Part, names: dict[bytes, str], *, whole: bool) -> None:
    if part.empty and not whole:
        return
    found, _ = held.read(part.state.log, part.last, part.last)
    read.append(
        {
            "log": part.state.log.hex(),
            "node": names[part.key],
            "read": "all" if whole else "events",
            "first_seq": part.first,
            "last_seq": part.last,
            "last_hash": found[0].hash.hex() if found else None,
        }
    )


def _newest_epochs(parts: Sequence[_Part]) -> list[_Part]:
    """Those with entries in the window; of a member without any, the log that it wrote last."""
    writing = {part.key for part in parts if not part.empty}
    last: dict[bytes, _Part] = {}
    for part in parts:
        known = last.get(part.key)
        if known is None or (known.newest_ms, known.state.log) < (part.newest_ms, part.state.log):
            last[part.key] = part
    return [part for part in parts if not part.empty or (part.key not in writing and last[part.key] is part)]


def _lead_ms(row: PlanRow) -> int:
    """So long before the window its beginning is prepared: a vote may have been formed then, and be fresh still."""
    needed_ms = row.interval_ms * max(row.fail_after, row.recover_after) + fresh_ms(row.interval_ms)
    return min(max(needed_ms, limits.EXPLAIN_LEAD_MS_MIN), limits.EXPLAIN_LEAD_MS_MAX)


def _concern(called: set[str], facts: Sequence[Fact]) -> Concern:
    return Concern.of(called, (fact.said.event for fact in facts if isinstance(fact.said, Told)))


def _names(parts: Sequence[_Part]) -> dict[bytes, str]:
    """What the authors are called; those who wrote nothing in the window take no name away from those who did."""
    plain = {part.key: part.name or part.key.hex()[:12] for part in sorted(parts, key=lambda part: part.newest_ms)}
    writing = {part.key for part in parts if not part.empty}
    shown = told_apart({key: name for key, name in plain.items() if key in writing}, frozenset())
    rest = {key: name for key, name in plain.items() if key not in writing}
    return shown | told_apart(rest, frozenset(shown.values()))


def _keys(name: str, parts: Sequence[_Part], names: dict[bytes, str]) -> list[bytes]:
    shown = [key for key, called in names.items() if name in (called, peer_id(key))]
    return shown or sorted({part.key for part in parts if part.name == name})


def _kind(question: Question, parts: Sequence[_Part], names: dict[bytes, str]) -> str:
    """Raises UsageError with what is called nearly so."""
    name = question.name
    checks = {row.name for part in parts for row in part.rows()}
    keys = _keys(name, parts, names)
    is_check, is_node = name in checks and question.kind != NODE, bool(keys) and question.kind != CHECK
    if is_check and is_node:
        raise UsageError(f"{name!r} is the name of a check and of a node; say --check or --node-name.")
    if is_node and len(keys) > 1:
        called = ", ".join(sorted(names[key] for key in keys))
        raise UsageError(f"Several nodes call themselves {name!r}: {called}. Name one of these.")
    if not (is_check or is_node):
        known = {*(checks if question.kind != NODE else ()), *(names.values() if question.kind != CHECK else ())}
        kinds = {CHECK: "check", NODE: "node"}.get(question.kind or "", "check or node")
        near = nearest(name, sorted(known))
        there = f" There are: {', '.join(sorted(known)[:_NAMES_SHOWN])}." if near == "." and known else ""
        raise UsageError(f"No {kinds} is called {name!r} in the logs of this time{near}{there}")
    return CHECK if is_check else NODE
