"""Who tells a direct sink of an incident, and when, so that it is told by whichever member can, and once. Pure.

Guarantees: an open incident is told to each sink at least once, as long as any live member that has the sink can reach it.
Where nothing is lost for longer than NOTIFY_RANK_MS it is told once; twice only across a partition, after a crash between
sending and saying so, or by an attempt that was given up and arrived all the same. Nobody's wall clock decides anything.

What a sink was told last is the greatest *step* in any log (`demesh.log.telling`): an odd turn says "open", an even one "over".
A step is due where this node sees it otherwise:

    this node sees | told last | due
    ---------------|-----------|----------------------------------------------------------------------
    open           | over      | firing, unless it is muted
    open           | open      | a reminder, `repeat_every` after what was told last, unless it is muted
    over           | open      | resolved; for a sink that does not want that, a note that it is over
    over           | over      | nothing
    neither        | any       | nothing: what is unknown closes nothing, and a restart tells nothing anew

A node that has not changed its mind since the sink was told (it saw the incident open before somebody told that it is over, or
never saw it open) waits NOTIFY_DISAGREE_MS before it contradicts; that something is over it then leaves to whoever told that it
is open, as long as that is there: so two who see it differently do not take turns. Who tells a step that is due goes by a
ladder: the live members whose plans name the sink, in the order of a hash of incident, sink and member. Of one step and sink a
node is in one of these states:

    state   | until                                                       | then
    --------|-------------------------------------------------------------|--------------------------------------------
    waiting | its place in the order x NOTIFY_RANK_MS has passed          | appends `notifying`, a lease: holding
    yielding| another's lease stands, its holder is live                  | waiting; who comes after the holder is first
    holding | its own lease stands: a send is due, at once or after a     | sending
            | delay that grows with each failure                          |
    holding | its own lease ends                                          | waiting, as the last in order
    sending | it arrived                                                  | appends `notified`: done
    sending | it failed                                                   | holding

A lease is 60 s, each after it twice as long, at most NOTIFY_LEASE_MS_MAX: a sink that is away for a day costs a hundred
entries. No attempt begins in the last NOTIFY_LEASE_MARGIN_MS of a lease, so none is on its way when another's begins.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.message import State
from demesh.alerts.sink import Sink
from demesh.log.telling import Step, Telling
from demesh.view.tellings import Lease, TellingKey, Tellings

Key = tuple[str, str]
"""An incident's name and key."""

_NONE = Step(0)
_NOTHING = Tellings()
_FOREVER_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class World:
    """What there is to go by at one moment. `closed` are incidents that this node saw close, `over` those that the view proves
    to be over now; `takers` the live members whose plans name each sink, this node among them; `holding` is true while others
    may have told what this node has not heard of yet.
    """

    open: Mapping[Key, Incident]
    closed: Mapping[Key, Incident]
    over: Collection[Key]
    sinks: Mapping[bytes, Sequence[Sink]]
    takers: Mapping[bytes, Collection[bytes]]
    tellings: Mapping[TellingKey, Tellings]
    holding: bool = False
    muted: Callable[[Incident], bool] = lambda incident: False


@dataclass(frozen=True, slots=True)
class Append:
    """Write this into the own log, durably, before what follows. `take_over`: another's lease came before it."""

    telling: Telling
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Try this once, then say how it went with `Ladder.tried`."""

    key: TellingKey
    step: Step
    sink: Sink
    incident: Incident
    state: State


@dataclass(slots=True)
class _Due:
    """A step that is due, and how far this node is with it. Times are monotonic."""

    step: Step
    state: str
    sink: Sink
    incident: Incident
    not_before_ms: int
    free_ms: int | None = None
    """Since when nobody has a lease; None while somebody has."""
    next_ms: int = 0
    """When the next attempt may be made."""
    failures: int = 0
    lease: tuple[int, int] | None = None
    """This node's own: its number, and when it ends."""


@dataclass(slots=True)
class _Task:
    """One incident and one sink."""

    sees: bool | None = None
    """Whether it is open, as this node sees it; None: it cannot tell."""
    sees_since_ms: int = 0
    was_open: bool = False
    told: Step = _NONE
    told_ms: int = 0
    """When this node first knew of that."""
    due: _Due | None = None
    trying: Step | None = None
    arrived: Telling | None = None
    done: Step = _NONE
    """The greatest step that this node itself has told in this run."""


@dataclass(slots=True)
class Ladder:
    """`own_key` is this node's public key."""

    own_key: bytes
    _tasks: dict[TellingKey, _Task] = field(default_factory=dict[TellingKey, _Task])

    def look(self, world: World, now_ms: int) -> tuple[list[Append | Send], int]:
        """What to do now, in this order, and for how many ms nothing else will be due if nothing changes."""
        effects: list[Append | Send] = []
        wait_ms = _FOREVER_MS
        for key in sorted(self._keys(world)):
            task = self._tasks.setdefault(key, _Task(sees_since_ms=now_ms, told_ms=now_ms))
            if key[2] not in world.sinks and task.trying is None and task.arrived is None:
                del self._tasks[key]
                continue
            if task.arrived is not None:
                effects.append(Append(task.arrived))
                task.done, task.arrived = max(task.done, task.arrived.step), None
            self._note(task, world, key, now_ms)
            if task.trying is None:
                task.due = self._due(task, world, key, now_ms)
                if task.due is not None and not world.holding:
                    wait_ms = min(wait_ms, self._go_on(task, task.due, world, key, now_ms, effects))
            if task.due is None and task.trying is None and task.sees is not True and not task.told.opens:
                del self._tasks[key]
        return effects, max(0, wait_ms)

    def tried(self, key: TellingKey, step: Step, *, arrived: bool, now_ms: int, chance: float) -> None:
        """How a `Send` went. `chance`, from 0 to 1, spreads the next attempt."""
        task = self._tasks[key]
        due, task.trying = task.due, None
        assert due is not None
        if arrived:
            task.arrived = _notice(key, due, labels=due.incident.labels)
            return
        delay_ms = min(limits.NOTIFY_RETRY_MS_MIN * 2 ** min(due.failures, 16), limits.NOTIFY_RETRY_MS_MAX)
        due.failures += 1
        due.next_ms = now_ms + round(delay_ms * (0.5 + chance / 2))

    def _keys(self, world: World) -> set[TellingKey]:
        found = {(*key, digest) for key in world.open for digest in world.sinks}
        found.update(
            key for key, each in world.tellings.items() if key[2] in world.sinks and each.told and each.told.step.opens
        )
        return found | self._tasks.keys()

    def _note(self, task: _Task, world: World, key: TellingKey, now_ms: int) -> None:
        """Take note of what this node sees, and of what the sink was told."""
        incident = key[:2]
        over = incident in world.over or (task.was_open and incident in world.closed)
        sees = True if incident in world.open else False if over else None
        if sees != task.sees:
            task.sees, task.sees_since_ms = sees, now_ms
        task.was_open = task.was_open or sees is True
        told = world.tellings.get(key, _NOTHING).told
        step = max(told.step if told else _NONE, task.done)
        if step != task.told:
            if step.turn > task.told.turn and not step.opens:
                task.was_open = sees is True
            task.told, task.told_ms = step, now_ms

    def _due(self, task: _Task, world: World, key: TellingKey, now_ms: int) -> _Due | None:
        """The step that is due, if one is: the same object as before as long as it is the same."""
        wanted = self._wanted(task, world, key)
        if wanted is None:
            return None
        step, state, sink, incident, after_ms = wanted
        before = task.due
        if before is not None and before.step == step:
            before.sink, before.incident, before.state = sink, incident, state
            return before
        return _Due(step, state, sink, incident, max(after_ms, now_ms))

    def _wanted(self, task: _Task, world: World, key: TellingKey) -> tuple[Step, str, Sink, Incident, int] | None:
        """What the sink is to be told, as what and by which of this node's settings, and when at the earliest."""
        tellings = world.tellings.get(key, _NOTHING)
        incident = world.open.get(key[:2]) or world.closed.get(key[:2]) or _remembered(key, tellings)
        severity = dict(incident.labels).get("severity", "")
        sink = next((each for each in world.sinks.get(key[2], ()) if each.wants(severity)), None)
        if sink is None or task.sees is None:
            return None
        turn, reminder = task.told
        told = tellings.told if tellings.told and tellings.told.step == task.told else None  # else it is our own word
        contradicts_ms = task.told_ms + limits.NOTIFY_DISAGREE_MS
        if task.sees and world.muted(incident):
            return None
        if task.sees and not task.told.opens:
            stubborn = turn > 0 and task.told_ms > task.sees_since_ms
            return Step(turn + 1), "firing", sink, incident, contradicts_ms if stubborn else 0
        if task.sees and sink.repeat_every_ms is not None:
            told_ms = told.at_ms if told and told.at_ms is not None else task.told_ms
            return Step(turn, reminder + 1), "reminder", sink, incident, told_ms + sink.repeat_every_ms
        if not task.sees and task.told.opens:
            stubborn = not task.was_open or task.told_ms > task.sees_since_ms
            by = told.by if told else self.own_key
            if stubborn and by != self.own_key and by in world.takers.get(key[2], ()):
                return None
            state = "resolved" if sink.send_resolved else "closed"
            return Step(turn + 1), state, sink, incident, contradicts_ms if stubborn else 0
        return None

    def _go_on(
        self, task: _Task, due: _Due, world: World, key: TellingKey, now_ms: int, effects: list[Append | Send]
    ) -> int:
        """Do what is to be done for a step that is due; returns for how long nothing else is."""
        if now_ms < due.not_before_ms:
            return due.not_before_ms - now_ms
        takers = {*world.takers.get(key[2], ()), self.own_key}
        order = sorted(takers, key=lambda member: _weight(key, member))
        leases = [each for each in world.tellings.get(key, _NOTHING).leases if each.step == due.step]
        last = max(leases, key=lambda each: (each.number, each.holder), default=None)
        self._take_up_own(due, leases)
        standing = [
            each
            for each in leases
            if each.holder != self.own_key and each.holder in takers and _left_ms(each, now_ms) > 0
        ]
        own_left_ms = due.lease[1] - limits.NOTIFY_LEASE_MARGIN_MS - now_ms if due.lease else 0
        rivals = [each for each in standing if _precedes(each, due.lease, order, self.own_key) or own_left_ms <= 0]
        if rivals:
            due.free_ms = None
            return min(_left_ms(each, now_ms) for each in rivals)
        if due.state == "closed" or own_left_ms <= 0:
            if due.free_ms is None:
                ends_ms = due.lease[1] if due.lease and len(order) > 1 else now_ms
                due.free_ms = max(now_ms, ends_ms)
            at_ms = due.free_ms + _place(order, self.own_key, last) * limits.NOTIFY_RANK_MS
            if now_ms < max(at_ms, due.next_ms):
                return max(at_ms, due.next_ms) - now_ms
            if due.state == "closed":
                effects.append(Append(_notice(key, due)))
                task.done = due.step
                return 0
        if now_ms < due.next_ms:
            return due.next_ms - now_ms
        if (
            sum(each.trying is not None for other, each in self._tasks.items() if other[2] == key[2])
            >= limits.NOTIFY_AT_ONCE_MAX
        ):
            return _FOREVER_MS
        if own_left_ms <= 0:
            number = last.number + 1 if last else 0
            due.lease = number, now_ms + lease_ms(number)
            due.free_ms = None
            effects.append(Append(_notice(key, due, lease=number), last is not None and last.holder != self.own_key))
        assert due.state in ("firing", "reminder", "resolved")
        effects.append(Send(key, due.step, due.sink, due.incident, due.state))
        task.trying = due.step
        return _FOREVER_MS

    def _take_up_own(self, due: _Due, leases: Sequence[Lease]) -> None:
        """A lease that this node got before it was started anew is still its own."""
        for each in leases:
            if each.holder == self.own_key and each.at_ms is not None and due.lease is None:
                due.lease = each.number, each.at_ms + lease_ms(each.number)


def lease_ms(number: int) -> int:
    """How long the lease of that number lasts."""
    return min(limits.NOTIFY_LEASE_MS * 2 ** min(number, 16), limits.NOTIFY_LEASE_MS_MAX)


def _left_ms(lease: Lease, now_ms: int) -> int:
    return 0 if lease.at_ms is None else lease.at_ms + lease_ms(lease.number) - now_ms


def _precedes(rival: Lease, own: tuple[int, int] | None, order: Sequence[bytes], own_key: bytes) -> bool:
    """Whether a lease that stands beside this node's own goes before it: both began before either knew of the other."""
    if own is None or rival.number != own[0]:
        return own is None or rival.number > own[0]
    return order.index(rival.holder) < order.index(own_key)


def _place(order: Sequence[bytes], own_key: bytes, last: Lease | None) -> int:
    """This node's place in the order, in which whoever tried last is last."""
    first = order.index(last.holder) + 1 if last and last.holder in order else 0
    return (order.index(own_key) - first) % len(order)


def _weight(key: TellingKey, member: bytes) -> bytes:
    name, incident, sink = key
    text = f"{name}\0{incident}\0".encode() + sink + member
    return hashlib.blake2b(text, digest_size=16, person=b"demesh/notify/1").digest()


def _notice(key: TellingKey, due: _Due, lease: int | None = None, labels: tuple[tuple[str, str], ...] = ()) -> Telling:
    name, incident, sink = key
    subject, onset_ms = due.incident.subject, due.incident.onset_ms
    return Telling(name, incident, subject, sink, due.step, due.state, onset_ms, lease, labels)


def _remembered(key: TellingKey, tellings: Tellings) -> Incident:
    """An incident of which this node knows only what was told of it."""
    said = tellings.opened or (tellings.told.telling if tellings.told else None)
    subject = said.about if said else key[1]
    labels = said.labels if said and said.labels else (("alertname", key[0]),)
    return Incident(
        key[0], key[1], subject, said.onset_ms if said else 0, labels, (("summary", f"{subject} is well again"),)
    )
