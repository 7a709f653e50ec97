"""Logs of a mesh that watches `web`, and what is told of them, for tests of explanations."""

from collections.abc import Callable, Iterable, Sequence

from demesh.explaining import Question, explain_at_once
from demesh.log.codec import Value
from demesh.log.entry import BadRow, Entry, Kind, by_log, log_id, sign
from demesh.log.event import Event
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.view.report import Json
from tests.log.builders import MESH, key_of, public_key_of
from tests.view.build import FAIL, NEXT_MS, PASS, WALL_MS, MemberLog, row

MINUTE_MS = 60_000
Written = list[tuple[bytes, Entry]]
"""Entries with their author's key, in some order."""


class Pile:
    """Entries that are held, in however many goes they came, and however those of different logs were mixed."""

    def __init__(self, *goes: Iterable[tuple[bytes, Entry]]) -> None:
        self._keys: dict[bytes, bytes] = {}
        self._entries: dict[bytes, dict[int, Entry]] = {}
        for go in goes:
            for key, entry in go:
                self._keys[entry.log] = key
                self._entries.setdefault(entry.log, {})[entry.seq] = entry

    def mesh_id(self) -> bytes:
        return MESH

    def logs(self) -> Sequence[LogState]:
        heads = {log: max(entries) for log, entries in self._entries.items()}
        return [LogState(log, self._keys[log], Head(seq, self._entries[log][seq].hash)) for log, seq in heads.items()]

    def _from(self, log: bytes, first: int) -> list[Entry]:
        return [entry for seq, entry in sorted(self._entries[log].items()) if seq >= first]

    def wall_ms_at(self, log: bytes, seq: int) -> int | None:
        return next((entry.wall_ms for entry in self._from(log, seq)), None)

    def read(self, log: bytes, first: int, last: int) -> tuple[list[Entry], list[BadRow]]:
        return [entry for entry in self._from(log, first) if entry.seq <= last], []

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]:
        return self._from(log, first)[:7]

    def read_but_results(self, log: bytes, first: int, below: int, *, bytes_max: int) -> list[Entry]:
        return [each for each in self._from(log, first) if each.seq < below and each.kind != Kind.RESULTS][:7]

    def newest(self, log: bytes, kind: Kind, *, before: int, count: int = 1) -> list[Entry]:
        return [each for each in self._from(log, 0) if each.seq < before and each.kind == kind][-count:]


class SignedLog(MemberLog):
    """The same by an author with a key."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.key = public_key_of(name)
        self.log = log_id(self.key, self._nonce)

    def entry(self, kind: int, payload: Value, up_ms: int, next_ms: int = NEXT_MS) -> Entry:
        made = super().entry(kind, payload, up_ms, next_ms)
        return made._replace(signature=sign(key_of(self.name), MESH, made.body))


class Vantages:
    """Members a, b and c that run `web` every minute, in turns of 10 s, and write what they find at once."""

    def __init__(self, *names: str, logs: Callable[[str], MemberLog] = MemberLog, **changed: object) -> None:
        self.row = row("web", **changed)
        self.members = {name: logs(name) for name in names or "abc"}
        self.written: Written = []
        for name in self.members:
            self.write(name, *self.members[name].start(0, self.row))

    def write(self, name: str, *entries: Entry) -> None:
        self.written += [(self.members[name].key, entry) for entry in entries]

    def minute(self, number: int, **outcomes: object) -> None:
        """One run of each that is named, at minute `number`, and heartbeats on either side of it."""
        for place, (name, outcome) in enumerate(outcomes.items()):
            up_ms = number * MINUTE_MS + 10_000 * place
            member = self.members[name]
            self.write(name, member.outcomes(up_ms, outcome))  # pyright: ignore[reportArgumentType] an outcome
            self.write(name, *(member.results(up_ms + later) for later in (20_000, 40_000)))

    def event(self, author: str, minute: int, type_: str, subject: str = "", /, **details: str) -> None:
        """What `author` says behind the last thing that it wrote of a minute."""
        at_ms = minute * MINUTE_MS + 45_000 + 10_000 * list(self.members).index(author)
        entry = self.members[author].entry(Kind.EVENT, Event(type_, subject, details).payload(), at_ms)
        self.write(author, entry)

    def told(
        self, name: str = "web", since_ms: int = 0, until_ms: int = 120 * MINUTE_MS, kind: str | None = None
    ) -> Json:
        return told(Pile(self.written), name, since_ms, until_ms, kind)


def outage(logs: Callable[[str], MemberLog] = MemberLog) -> Vantages:
    """Up, from minute 8 to 10 down, then up again; a tells that it told somebody."""
    mesh = Vantages(logs=logs)
    for minute in range(1, 14):
        mesh.minute(minute, **{**all_pass(), **(all_fail("ab") if minute in (8, 9, 10) else {})})
        if minute == 9:
            mesh.event("a", 9, "notified", "web", name="DemeshCheckDown", sink="ops", state="firing")
    return mesh


def logs_of(mesh: Vantages) -> list[list[Entry]]:
    return list(by_log(entry for _, entry in mesh.written).values())


def told(pile: Pile, name: str, since_ms: int, until_ms: int, kind: str | None = None) -> Json:
    return explain_at_once(pile, Question(name, WALL_MS + since_ms, WALL_MS + until_ms, kind))


def all_pass(names: str = "abc") -> dict[str, object]:
    return dict.fromkeys(names, PASS)


def all_fail(names: str = "abc") -> dict[str, object]:
    return dict.fromkeys(names, FAIL)


def lines(answer: Json) -> list[str]:
    """The steps as `minutes node text -> verdict`."""
    return [_line(step) for step in answer["steps"]]


def _line(step: Json) -> str:
    at = step["at"]
    led = step.get("leads_to")
    turned = f" -> {led['verdict']}" if led and led["before"] != led["verdict"] else ""
    return f"{at[14:19]} {step['node']} {step['text']}{turned}"
