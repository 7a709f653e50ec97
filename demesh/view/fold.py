"""The fold: entries in, what is known of members and checks out.

Guarantees: history is a pure function of the logs, whatever the order in which logs interleave; only ages and signs of
life depend on when entries arrived. An entry whose kind is unknown, or whose payload is not of its kind's shape, changes
nothing but the log's position; `skipped` counts those of known kinds.

A member that has *left* counts nowhere, until a live entry of it arrives: one whose log ends with a bye that says so, one that a
`forget` event names, one whose silence this node has observed for LEFT_AFTER_MS. That is counted second by second while this
node runs and listens, over all its runs (`demesh.view.standing`): no date and no clock that jumps makes it come sooner.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from demesh import limits
from demesh.errors import EntryError
from demesh.log.entry import Entry, Kind
from demesh.log.evidence import Fork
from demesh.log.hello import PresenceProfile
from demesh.view.blame import Broken
from demesh.view.checks import Checks, CheckView
from demesh.view.checks import Standing as CheckStanding
from demesh.view.decisions import Decisions, decided
from demesh.view.fold_entry import fold_entry, forget_old_definitions
from demesh.view.forgets import Forgets
from demesh.view.member import Absence, LogView, Member, Pause
from demesh.view.own_clock import OwnClock
from demesh.view.presence import HERE, LastSign, Presence, presence
from demesh.view.seeing import Seeing
from demesh.view.sharing import Greetings, Span, is_shared
from demesh.view.standing import Standing
from demesh.view.tellings import TellingKey, Tellings, gather
from demesh.view.vote import Vote, VoteState, fresh_ms
from demesh.view.warnings import Warned

_TICK_MS_MAX = 60_000  # more than this between two looks was no listening


class View:
    """All logs folded. `own_key` is this node's public key; `now_ms` is the observer's monotonic clock throughout."""

    def __init__(self, own_key: bytes, now_ms: int) -> None:
        self._own_key = own_key
        self._listening_since_ms = now_ms
        self._logs: dict[bytes, LogView] = {}
        self._members: dict[bytes, Member] = {}
        self._checks = Checks(self.standing)
        self._forgets = Forgets()
        self._ticked_ms = now_ms
        self._greetings = Greetings()
        self.skipped = 0
        self.seeing = Seeing()
        self.patience = 1.0
        """By how much longer than promised others may be silent (`demesh.view.presence`)."""
        self._events = 0
        self.bars: Callable[[bytes], bool] = lambda public_key: False
        """Whether a key is no member's by this node's own configuration. May be replaced at any time."""
        self.heeds: Callable[[bytes], bool] = lambda public_key: True
        """Whether what the owner of a key decides about alerts counts here. May be replaced at any time."""
        self.own_clock: Callable[[], OwnClock | None] = lambda: None
        """What this node's NTP checks say of its wall clock. May be replaced at any time."""
        self._decisions: tuple[object, Decisions] = ((), Decisions())

    def log(self, log: bytes) -> LogView | None:
        return self._logs.get(log)

    def member(self, public_key: bytes) -> Member | None:
        return self._members.get(public_key)

    def members(self) -> list[Member]:
        """All members, this node included, in order of their keys."""
        return [member for member in self.everyone() if member.public_key == self._own_key or not member.left]

    def everyone(self) -> list[Member]:
        """The members, and those that have left, in order of their keys."""
        return [self._members[key] for key in sorted(self._members) if not self.bars(key)]

    def load(self, public_key: bytes, entries: Iterable[Entry]) -> None:
        """Fold entries of one log from the store: history, no signs of life. For the start; later there is `load_anew`."""
        self._load(public_key, entries, self._listening_since_ms)
        member = self._members.get(public_key)
        if member and not member.heard and member.current.newest:
            # Known from the store alone: it gets the time it last asked for, from when we began to listen.
            member.sign = _unheard(member.current, member.current.newest, self._listening_since_ms)

    def load_anew(self, public_key: bytes, log: bytes, entries: Iterable[Entry], now_ms: int) -> None:
        """Take `entries`, what a start would read of a log, in place of all that was shown of it.

        Its owner is as alive as it was; who is met by this has from `now_ms` on to speak to us.
        """
        before = self._logs.pop(log, None)
        if before is not None:
            after = LogView(log, public_key, clock=before.clock, fork=before.fork, lived=before.lived)
            self._logs[log] = after
            if self._members[public_key].current is before:
                self._members[public_key].current = after
        self._load_late(public_key, entries, now_ms)

    def preview(self, public_key: bytes, log: bytes, entries: Iterable[Entry], now_ms: int) -> None:
        """Take the end of a log, and what it builds on, in order, though what is between is not there: no signs of life."""
        known = self._logs.get(log)
        newest = known.newest.seq if known and known.newest else -1
        self._load_late(public_key, [entry for entry in entries if entry.seq > newest], now_ms)

    def withdraw(self, log: bytes) -> None:
        """Forget what was shown of a log of which nothing is stored; its owner, too, if there is no other log of it."""
        view = self._logs.pop(log, None)
        if view is None or self._members[view.public_key].current is not view:
            return
        if any(other.public_key == view.public_key for other in self._logs.values()):
            self._members[view.public_key].current = self._latest_epoch(view.public_key)
        else:
            del self._members[view.public_key]

    def forget(self, logs: Iterable[bytes]) -> None:
        """Forget what these logs said, but for one that its member writes now."""
        for log in logs:
            view = self._logs.get(log)
            if view is not None and self._members[view.public_key].current is not view:
                del self._logs[log]

    def note_fork(self, log: bytes, fork: Fork | None) -> None:
        """A log that was loaded ends in front of this fork."""
        view = self._logs.get(log)
        if view is not None:
            view.fork = fork

    def end(self, public_key: bytes, log: bytes, fork: Fork, entries: Iterable[Entry]) -> None:
        """A log ends in front of `fork` from now on; `entries` are what a start would read of it then.

        What it said from there on counts no more, and its owner is as alive as it was.
        """
        before = self._logs.pop(log, None)
        self._logs[log] = LogView(log, public_key, fork=fork)
        for entry in entries:
            self._fold(public_key, entry, self._listening_since_ms)
        member = self._members.get(public_key)
        if member and member.current is before:
            member.current = self._latest_epoch(public_key)

    def forks(self) -> dict[bytes, dict[bytes, Fork]]:
        """What is proven of forks: by key, and by log."""
        found: dict[bytes, dict[bytes, Fork]] = {}
        for view in self._logs.values():
            if view.fork is not None:
                found.setdefault(view.public_key, {})[view.log] = view.fork
        return found

    def heed_forgets(self) -> None:
        """Once logs were loaded: whoever was forgotten and has written nothing since has left."""
        for (subject, log), seq in self._forgets:
            member = self._members.get(subject)
            if member and member.current.log == log and member.current.newest and member.current.newest.seq <= seq:
                member.gone = True

    def standings(self) -> list[Standing]:
        """What of the others' presence a restart shall not forget."""
        return [Standing(each.public_key, each.silent_ms, each.gone) for each in self._members.values()]

    def restore_standings(self, standings: Iterable[Standing]) -> None:
        """To be called once the logs were loaded."""
        for each in standings:
            member = self._members.get(each.public_key)
            if member:
                member.silent_ms, member.gone = each.silent_ms, member.gone or each.gone

    def restore(self, log: bytes, seq: int, votes: Mapping[tuple[str, bytes], VoteState]) -> None:
        """The votes of a log as of entry `seq`, of the checks that its plans name: results up to there count no more."""
        view = self._logs.get(log)
        if view is not None:
            view.voted_seq = seq
            view.votes.update(votes)
            forget_old_definitions(view)

    def folded(self) -> Iterator[tuple[bytes, int, Mapping[tuple[str, bytes], VoteState]]]:
        """For each log: its id, the sequence number of the newest entry folded, and the votes as of there."""
        for log_id, view in self._logs.items():
            if view.newest is not None:
                yield log_id, max(view.newest.seq, view.voted_seq), view.votes

    def apply(self, public_key: bytes, entry: Entry, received_ms: int, *, first_hand: bool) -> None:
        """Fold an entry that arrived at `received_ms`; `first_hand` if over its author's own connection (or ours)."""
        self._fold(public_key, entry, received_ms)
        self.hear(public_key, entry, received_ms, first_hand=first_hand)

    def hear(self, public_key: bytes, entry: Entry, received_ms: int, *, first_hand: bool) -> None:
        """Take note of when an entry arrived that is folded already: the newest one of its log."""
        view = self._logs[entry.log]
        view.clock.observe(entry.boot8, entry.up_ms, received_ms, first_hand=first_hand)
        made_ms = view.clock.local_ms(entry.boot8, entry.up_ms)
        member = self._members[public_key]
        foreign = public_key == self._own_key and not first_hand  # another epoch of ours: an old one, or that of a copy
        if entry.kind == Kind.EVENT:
            self._let_go(self._note_forget(public_key, entry))
        if not view.clock.live or made_ms is None:
            if not foreign and view is member.current:
                _learn_at_second_hand(member, entry, received_ms)
            return
        view.lived = view.lived.grown(made_ms, entry.next_ms) if view.lived else Span(made_ms, made_ms, entry.next_ms)
        if foreign:
            return
        if view is member.current and made_ms < member.sign.at_ms and view.bye is None:
            return
        _note_return(member, view, self.presence(member, made_ms), made_ms)
        member.current = view
        member.heard = True
        member.sign = _sign(view, entry, made_ms)
        member.silent_ms, member.gone = 0, False

    def presence(self, member: Member, now_ms: int) -> Presence:
        if member.public_key == self._own_key:
            return Presence.ALIVE
        return Presence.LEFT if member.left else presence(member.sign, now_ms, self.patience)

    def listen_anew(self, now_ms: int, heard_until_ms: int) -> None:
        """We did not listen since `heard_until_ms` (a stopped process, a stalled machine): whatever we missed, nobody has
        become silent meanwhile. Who was silent before stays so until heard.
        """
        self._listening_since_ms = now_ms
        for view in self._logs.values():
            view.lived = None
        for member in self._members.values():
            if member.public_key != self._own_key and member.current.newest is not None:
                member.current.clock.lose()
                if self.presence(member, heard_until_ms) != Presence.SILENT:
                    member.sign = _unheard(member.current, member.current.newest, now_ms)
                    member.heard = False

    def tick(self, now_ms: int, *, listening: bool = True) -> None:
        """Look at the others anew: who vanished, and whether it is this node that is cut off. Let the logs of silent members
        prove anew that they are live before they count again, and count their silence, unless nobody could be heard.
        """
        self.seeing.look(self.members(), self._own_key, self.presence, self._listening_since_ms, now_ms)
        passed_ms, self._ticked_ms = max(0, min(now_ms - self._ticked_ms, _TICK_MS_MAX)) if listening else 0, now_ms
        for member in self._members.values():
            if self.presence(member, now_ms) != Presence.SILENT:
                continue
            if member.current.clock.live:
                member.current.clock.lose()
            member.silent_ms += passed_ms
            member.gone = member.silent_ms >= limits.LEFT_AFTER_MS

    def writes(self, public_key: bytes, log: bytes, now_ms: int) -> None:
        """A peer says, over its own connection, that it is writing a log, which need not have reached us."""
        self._greetings.note(public_key, log, now_ms)

    def shared(self, now_ms: int) -> set[bytes]:
        """The keys, our own perhaps among them, with which two nodes write at once."""
        spans: dict[bytes, list[Span]] = {}
        for view in self._logs.values():
            if view.lived is not None:
                spans.setdefault(view.public_key, []).append(view.lived)
        return {key for key, found in spans.items() if is_shared(found, now_ms)} | self._greetings.shared(now_ms)

    def checks(self, now_ms: int) -> list[CheckView]:
        """Every check that a member's current plan names, by name."""
        return self._checks.at(self.members(), now_ms)

    @property
    def broken(self) -> Mapping[bytes, Broken]:
        """The vantages that did not count when the checks were looked at last."""
        return self._checks.broken

    @property
    def cut_off(self) -> bool:
        """Whether this node is cut off from the rest of the world, as it looks."""
        return self.seeing.isolation.cut_off

    def vantages(self, now_ms: int) -> dict[tuple[str, bytes], list[bytes]]:
        """The keys of the members that run each check, by its name and definition, as far as they are not silent or away."""
        found: dict[tuple[str, bytes], list[bytes]] = {}
        for member in self.members():
            if self.presence(member, now_ms) in (Presence.ALIVE, Presence.SUSPECT) and member.current.plan:
                for row in member.current.plan.rows:
                    if row.runs:
                        found.setdefault((row.name, row.definition), []).append(member.public_key)
        return found

    def warnings(self) -> dict[bytes, list[Warned]]:
        """What the logs of each member warn of, by its key."""
        found: dict[bytes, list[Warned]] = {}
        for log in self._logs.values():
            found.setdefault(log.public_key, []).extend(log.warnings)
        return found

    def logs(self) -> Iterator[LogView]:
        """All that is shown of the logs of members, and of those that have left."""
        return (log for log in self._logs.values() if not self.bars(log.public_key))

    def decisions(self) -> Decisions:
        """What is decided about alerts by those whom this node heeds, wherever they are."""
        logs = [(log.log, log.public_key, log.decided) for log in self.logs() if log.decided.said]
        heeded = {key for key in {key for _, key, _ in logs} if self.heeds(key)}
        stamp = heeded, [(log, each.version) for log, _, each in logs]
        if self._decisions[0] != stamp:
            self._decisions = stamp, decided(logs, heeded.__contains__)
        return self._decisions[1]

    def decisions_of(self, public_key: bytes) -> Decisions:
        """What the logs of one member decide by themselves, whoever else ends it, and whether that counts here or not."""
        logs = self._logs.values()
        return decided([(log.log, log.public_key, log.decided) for log in logs], lambda key: key == public_key)

    def tellings(self) -> dict[TellingKey, Tellings]:
        """What all logs say of sinks."""
        logs = (log for log in self._logs.values() if not self.bars(log.public_key))
        return gather((log.public_key, log.tellings, log.clock) for log in logs)

    def settled(self, now_ms: int) -> bool:
        """Whether every live vantage has reported since this node listens, or its time to do so is over."""
        waited_ms = now_ms - self._listening_since_ms
        return all(
            vantage.vote != Vote.UNSEEN or waited_ms > fresh_ms(check.row.interval_ms)
            for check in self.checks(now_ms)
            for vantage in check.vantages
            if vantage.assigned
        )

    def standing(self, member: Member, now_ms: int) -> CheckStanding:
        """How a member stands as a vantage."""
        view, key, state = member.current, member.public_key, self.presence(member, now_ms)
        here_since_ms = max(self._listening_since_ms, member.alive_since_ms or 0)
        if view.planned and (planned_ms := view.clock.local_ms(*view.planned)) is not None:
            here_since_ms = max(here_since_ms, planned_ms)
        vanished_ms = self.seeing.vanished.together.get(key) if state == Presence.SILENT else None
        vanished = vanished_ms is not None and now_ms - vanished_ms <= limits.PARTITION_VOTES_MS
        excluded = "" if state in HERE or vanished else str(state)
        if key == self._own_key and self.cut_off:
            excluded = "cut off"
        return CheckStanding(
            current=view,
            plan=view.plan,
            presence=state,
            distance=view.clock.distance if view.clock.live else None,
            here_since_ms=here_since_ms,
            next_ms=view.newest.next_ms if view.newest else 0,
            excluded=excluded,
            vanished=vanished,
        )

    def _fold(self, public_key: bytes, entry: Entry, seen_ms: int) -> LogView:
        view = self._logs.get(entry.log)
        if view is None:
            view = self._logs[entry.log] = LogView(entry.log, public_key)
            if public_key not in self._members:
                # Nobody is silent before having had the time to speak to us.
                self._members[public_key] = Member(public_key, view, _unheard(view, entry, seen_ms))
                self._members[public_key].gone = self._forgets.names(public_key)
        view.pause = view.pause.between(view.newest, entry)
        view.newest = entry
        try:
            fold_entry(view, entry)
        except EntryError:
            self.skipped += 1
        if entry.kind == Kind.EVENT:
            self._events += 1
            view.decided.version = self._events
        member = self._members[public_key]
        if entry.kind == Kind.HELLO and (member.current.bye is not None or not member.current.clock.live):
            member.current = self._latest_epoch(public_key)
        return view

    def _latest_epoch(self, public_key: bytes) -> LogView:
        """The log of a member that none of its others names as the one before; if several are such, the one dated last.

        There are several where one between two was carried, or hellos are missing. The date is a guess, until one is live.
        """
        logs = [log for log in self._logs.values() if log.public_key == public_key]
        succeeded = {log.hello.previous[0] for log in logs if log.hello and log.hello.previous}
        latest = [log for log in logs if log.log not in succeeded]
        return max(latest or logs, key=lambda log: (log.newest.wall_ms if log.newest else 0, log.log))

    def _note_forget(self, author: bytes, entry: Entry) -> bytes | None:
        """Whom `entry`, an event, forgets, if anybody."""
        try:
            return None if self.bars(author) else self._forgets.note(entry)
        except EntryError:
            self.skipped += 1
            return None

    def _let_go(self, subject: bytes | None) -> None:
        """Whoever was forgotten has left."""
        member = self._members.get(subject) if subject is not None else None
        if member is None or subject == self._own_key:
            return
        member.gone = True
        for log in self._logs.values():
            if log.public_key == subject:
                log.clock.lose()  # what is still on its way from before is no sign of life

    def _load(self, public_key: bytes, entries: Iterable[Entry], seen_ms: int) -> None:
        for entry in entries:
            self._fold(public_key, entry, seen_ms)
            if entry.kind == Kind.EVENT:
                self._note_forget(public_key, entry)

    def _load_late(self, public_key: bytes, entries: Iterable[Entry], now_ms: int) -> None:
        """Load what came while we listened."""
        self._load(public_key, entries, now_ms)
        member = self._members.get(public_key)
        if member and not member.heard and member.current.newest:
            member.sign = _unheard(member.current, member.current.newest, member.sign.at_ms)
        self.heed_forgets()


def _note_return(member: Member, view: LogView, before: Presence, made_ms: int) -> None:
    """A sign of life of a member that was `before`: since when it is there, and what its log tells of its absence."""
    if before == Presence.SILENT and member.heard:
        another = view is not member.current
        pause = Pause(booted=True) if another else view.pause
        member.absence = Absence(made_ms - member.sign.at_ms, pause)
    if before not in HERE or member.alive_since_ms is None:
        member.alive_since_ms = made_ms
    view.pause = Pause()


def _learn_at_second_hand(member: Member, entry: Entry, received_ms: int) -> None:
    """History of a member's current log tells nothing of how it is, but how its silence since is to be taken."""
    view = member.current
    if member.sign.back_by_ms is not None and view.bye is None:
        # It came back, and may be gone again: it is away no more, and has the time it asked for to speak to us. But whoever was
        # silent before, whatever leave it took unheard meanwhile, stays so until heard: history closes nothing.
        member.sign = _unheard(view, entry, member.sign.at_ms if member.silent_ms else received_ms)
    elif not member.heard:
        # What others passed on is all we know: its newest entry counts.
        member.sign = _unheard(view, entry, member.sign.at_ms)


def _unheard(view: LogView, entry: Entry, at_ms: int) -> LastSign:
    """For who was not heard yet since `at_ms`: it has twice the time it last asked for. Of a log that comes through others three
    entries must arrive before it is live, and that may take longer than one promise."""
    return _sign(view, entry, at_ms, promises=2)


def _sign(view: LogView, entry: Entry, at_ms: int, *, promises: int = 1) -> LastSign:
    roaming = view.hello is not None and view.hello.presence == PresenceProfile.ROAMING
    return LastSign(at_ms, promises * entry.next_ms, view.bye.back_by_ms if view.bye else None, roaming)
