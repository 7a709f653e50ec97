"""The rules by which logs grow: which entries this node takes in, and why it refuses the others.

    hello ← results ← results ← plan ← results ← …          each entry names the hash of the one before it

Guarantees: a log only ever grows by entries that its owner signed for this mesh, each linked to the one before; so two
nodes that hold the same head hold the same log. Entries for an unknown log are taken from its first one on, a hello that
proves which key owns the log. A signature that is there is always verified; it may be missing only on results and rollups
in front of a signed entry of the same offer, which vouches for them through the links. Of a key that is not admitted
(`demesh.log.admission`) nothing is taken, and nothing is missed.

A log that a carry of its owner names (`demesh.log.carry`) is over, and taken from nobody again. Where there is no room, a
member's new epoch takes the place of its own oldest one, and never of anybody else's (`demesh.log.room`).

Where the holders of a log have forgotten its beginning (docs/protocol.md, "What is forgotten"), it is adopted: taken up behind
the forgotten part, with what was kept of it, each piece signed.

An entry that contradicts one we hold is refused as "fork", whichever of the two came first. Once its owner's signing of two
histories is proven (`demesh.log.evidence`), a log ends in front of the fork and takes no more from there on, from nobody.

Not guaranteed here: durability (the caller stores what was accepted before it acts on it).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from demesh import limits
from demesh.errors import EntryError
from demesh.log.admission import Admission
from demesh.log.entry import Entry, Kind, by_log, verify
from demesh.log.evidence import Fork, Proof, check_proof
from demesh.log.head import Head
from demesh.log.hello import read_hello
from demesh.log.room import Gone, gives_way
from demesh.log.state import LogState
from demesh.log.taken import Adopted, Gap, Refusal, Taken
from demesh.log.vouching import linked_to, vouched_for

_RECENT_HASHES = 64  # so far back a repeated entry is told from a fork without asking the store


class Logs:
    """The heads of all logs that this node holds."""

    def __init__(
        self,
        mesh_id: bytes,
        own_log: bytes,
        known: Iterable[LogState] = (),
        carried: Mapping[bytes, Sequence[bytes]] | None = None,
        dates: Mapping[bytes, int] | None = None,
        *,
        admission: Admission | None = None,
    ) -> None:
        """`own_log` grows by `append_own` only: from elsewhere nothing can be new in it.

        `carried` are ids by their owner's key; `dates` the wall clocks of the heads of `known`, as far as they are known.
        """
        self._mesh_id = mesh_id
        self._own_log = own_log
        self._admission = admission or Admission()
        self._turned_away: OrderedDict[bytes, bytes] = OrderedDict()  # the owners of logs that were refused
        self.writes = b""
        """The log that this node has written in since it started; empty before."""
        self._gone = Gone()
        self._states: dict[bytes, LogState] = {state.log: state for state in known}
        self._dates: dict[bytes, int] = dict(dates or {})
        self._convicted: dict[bytes, int] = {}  # by log, how many proofs have counted since this node started
        self._recent: dict[bytes, OrderedDict[int, bytes]] = {}
        self.end(carried or {})
        for state in self._states.values():
            self._remember(state.log, state.head)

    def __len__(self) -> int:
        return len(self._states)

    def get(self, log: bytes) -> LogState | None:
        return self._states.get(log)

    def states(self) -> list[LogState]:
        return sorted(self._states.values(), key=lambda state: state.log)

    def offered(self) -> list[LogState]:
        """The logs that this node offers on and asks others for: all but those of keys that are not admitted."""
        return [state for state in self.states() if self._admission.allows(state.public_key)]

    def refusal(self, log: bytes, now_ms: int) -> str:
        """Why nothing of a log would be taken now, for all that is known of it; empty if something might be."""
        state = self._states.get(log)
        if state is not None:
            return self._admission.refusal(state.public_key)
        owner = self._turned_away.get(log)
        return self._refusal_of_owner(owner, now_ms) if owner else ""

    def begin_own(self, log: bytes) -> None:
        """From now on `log` is the own one; the one before may take what peers know of it."""
        self._own_log = log

    def is_gone(self, log: bytes) -> bool:
        """Whether nothing of a log is taken, from nobody: it was carried, or gave way to a newer one."""
        return log != self._own_log and log in self._gone

    def end(self, carried: Mapping[bytes, Sequence[bytes]]) -> None:
        """Take note that carries name these logs, by their owner's key: all but the own one are gone."""
        for public_key, logs in carried.items():
            self._gone.carry(public_key, logs)
            for log in logs:
                self._forget(log)

    def append_own(self, entries: Sequence[Entry]) -> None:
        """Take note of entries that this node wrote and stored itself."""
        for entry in entries:
            state = self._states.get(entry.log)
            assert entry.log == self._own_log
            self.writes = entry.log
            state = state or LogState(entry.log, read_hello(entry).public_key, entry.head)
            self._advance(replace(state, head=entry.head), entry.wall_ms)

    def shortened(self, log: bytes, pruned_to: int) -> None:
        """Take note that the store holds a log from `pruned_to` on only, if it still does."""
        if log in self._states:
            self._states[log] = replace(self._states[log], pruned_to=pruned_to)

    def offer(self, entries: Sequence[Entry], news_of: bytes | None = None, *, now_ms: int = 0) -> Taken:
        """Take what can be taken of `entries`, which came from elsewhere: any logs, each log's entries in order.

        `news_of` is the key of the node that sends them, if it just wrote its own among them. `now_ms` is monotonic: so many
        new members a time.
        """
        taken = Taken()
        for log, run in by_log(entries).items():
            self._offer_run(log, run, taken, news_of, now_ms)
        return taken

    def adopt(
        self, log: bytes, before: Head, kept: Sequence[Entry], following: Sequence[Entry], *, now_ms: int = 0
    ) -> Adopted | None:
        """Take a log up behind `before`, as nobody has what was there but for `kept`; `following` is offered after this.

        Returns its state and what made room for it, or None if this node has come that far already. Raises EntryError:
        "own_log", "gone", "too_many_logs", "too_many_epochs", "no_hello", "bad_signature", what `read_hello` raises, and
        why a key is not admitted; then nothing has changed.
        """
        state = self._states.get(log)
        if log == self._own_log:
            raise EntryError("own_log", "a log of this node's own")
        if self.is_gone(log):
            raise EntryError("gone", "a log that is over")
        if state is not None and state.head.seq >= before.seq:
            return None
        if state is not None and state.fork is not None and before.seq + 1 >= state.fork.end:
            raise EntryError("forked", "what lies behind a fork")
        if refusal := self.refusal(log, now_ms):
            raise EntryError(refusal, "a log of a key that is not admitted")
        public_key, instead = (state.public_key, None) if state else self._owner_among(kept, following, now_ms)
        taken = Taken()
        linked = linked_to(before, list(following), taken)
        signed = vouched_for(self._mesh_id, public_key, linked, taken, state.fork if state else None)
        vouched = all(entry.log == log and entry.seq <= before.seq and entry.signature for entry in kept)
        if not signed or not vouched or not all(verify(public_key, self._mesh_id, entry) for entry in kept):
            raise EntryError("bad_signature", "what is kept, or what follows it, is not signed by the log's owner")
        self._let_in(public_key)
        adopted = LogState(log, public_key, before, before.seq + 1, state.fork if state else None)
        self._advance(adopted, following[0].wall_ms)
        return Adopted(adopted, self._give_way(instead))

    def owner_of(self, log: bytes, hello: Entry | None, now_ms: int) -> bytes | None:
        """Whose log it is, if entries of it might be taken now; of one that is not known its `hello` tells, None without one.

        Raises EntryError with the reason for which nothing of the log would be taken. Nothing has changed in any case.
        """
        state = self._states.get(log)
        if log == self._own_log:
            raise EntryError("own_log", "a log of this node's own")
        if self.is_gone(log):
            raise EntryError("gone", "a log that is over")
        if refusal := self.refusal(log, now_ms):
            raise EntryError(refusal, "a log of a key that is not admitted")
        if state is not None:
            return state.public_key
        return self._owner_of_new_log(hello, hello.wall_ms, None, now_ms)[0] if hello else None

    def convict(self, proof: Proof, now_ms: int) -> bool:
        """Whether `proof` changes where its log ends; then the store lets it end there, and `ended` takes note of that.

        Raises EntryError: "unknown_log", "own_log" if the log is still being written here, "gone", "too_many_proofs", why its
        owner is not admitted, and what `check_proof` raises. Nothing has changed in any case.
        """
        state = self._states.get(proof.log)
        if self.is_gone(proof.log):
            raise EntryError("gone", "a log that is over")
        if state is None:
            raise EntryError("unknown_log", "a log that is not held")
        if state.fork is not None and state.fork.rank <= proof.fork.rank:
            return False
        if refusal := self.refusal(proof.log, now_ms):
            raise EntryError(refusal, "a log of a key that is not admitted")
        if self._convicted.get(proof.log, 0) >= limits.FORK_PROOFS_PER_LOG_MAX:
            # Whoever signs histories without end keeps nobody busy.
            raise EntryError("too_many_proofs", "a log whose end has moved often enough")
        check_proof(state.public_key, self._mesh_id, proof)
        if proof.log == self._own_log:
            raise EntryError("own_log", "a log of this node's own")
        return True

    def ended(self, state: LogState) -> None:
        """Take note that the store has let a log end in front of a fork."""
        self._states[state.log] = state
        self._convicted[state.log] = self._convicted.get(state.log, 0) + 1
        self._recent.pop(state.log, None)
        self._remember(state.log, state.head)

    def forks_of(self, public_key: bytes) -> list[Fork]:
        """What is proven of a key's logs, the newest last."""
        found = [state.fork for state in self._states.values() if state.public_key == public_key and state.fork]
        return sorted(found, key=lambda fork: (fork.dated_ms, fork.id))

    def _owner_among(
        self, kept: Sequence[Entry], following: Sequence[Entry], now_ms: int
    ) -> tuple[bytes, bytes | None]:
        hellos = [entry for entry in kept if entry.kind == Kind.HELLO]
        if not hellos:
            raise EntryError("no_hello", "no hello is kept of a log that is not known")
        dated_ms = max(entry.wall_ms for entry in (*kept, *following))
        return self._owner_of_new_log(hellos[0], dated_ms, None, now_ms)

    def _offer_run(self, log: bytes, run: list[Entry], taken: Taken, news_of: bytes | None, now_ms: int) -> None:
        if self.is_gone(log):
            taken.refusals.append(Refusal(log, run[0].seq, "gone"))
            return
        new = self._skip_known(log, run, taken)
        if not new:
            return
        state = self._states.get(log)
        first = new[0]
        if log == self._own_log:
            taken.refusals.append(Refusal(log, first.seq, "own_log"))
            return
        if refusal := self.refusal(log, now_ms):
            taken.refusals.append(Refusal(log, first.seq, refusal))
            return
        if state and state.fork and new[-1].seq >= state.fork.end:
            taken.refusals.append(Refusal(log, max(first.seq, state.fork.end), "forked"))
            new = [entry for entry in new if entry.seq < state.fork.end]
            if not new:
                return
        expected = state.head.seq + 1 if state else 0
        if first.seq > expected:
            taken.gaps.append(Gap(log, expected, first.seq - 1))
            return
        try:
            public_key, instead = (
                (state.public_key, None) if state else self._owner_of_new_log(first, first.wall_ms, news_of, now_ms)
            )
        except EntryError as error:
            taken.refusals.append(Refusal(log, first.seq, error.reason))
            return
        linked = linked_to(state.head if state else None, new, taken)
        accepted = vouched_for(self._mesh_id, public_key, linked, taken, state.fork if state else None)
        if accepted:
            if state is None:
                self._let_in(public_key)
            state = state or LogState(log, public_key, accepted[-1].head)
            for entry in accepted[-_RECENT_HASHES:-1]:
                self._remember(log, entry.head)
            self._advance(replace(state, head=accepted[-1].head), accepted[-1].wall_ms)
        taken.accepted.extend(accepted)
        if accepted:
            taken.dropped.extend(self._give_way(instead))

    def _skip_known(self, log: bytes, run: list[Entry], taken: Taken) -> list[Entry]:
        """What of `run` lies beyond our head; counts repeats and refuses what contradicts an entry we hold."""
        state = self._states.get(log)
        if state is None:
            return run
        recent = self._recent[log]
        new: list[Entry] = []
        for entry in run:
            if entry.seq > state.head.seq:
                new.append(entry)
            elif recent.get(entry.seq, entry.hash) == entry.hash:
                taken.repeated += 1
            else:
                is_proven = state.fork is not None and entry.seq >= state.fork.seq
                taken.refusals.append(Refusal(log, entry.seq, "forked" if is_proven else "fork"))
                return []
        return new

    def _owner_of_new_log(
        self, entry: Entry, dated_ms: int, news_of: bytes | None, now_ms: int
    ) -> tuple[bytes, bytes | None]:
        """Whose log begins with the hello in `entry`, and which log has to give way to it, if there is no room."""
        hello = read_hello(entry)
        if refusal := self._refusal_of_owner(hello.public_key, now_ms):
            self._turn_away(entry.log, hello.public_key)
            raise EntryError(refusal, "the log's owner is not admitted")
        epochs = {
            log: self._dates.get(log, 0) for log, state in self._states.items() if state.public_key == hello.public_key
        }
        no_room = len(self._states) - (self._own_log in self._states) >= limits.LOGS_MAX
        if not no_room and len(epochs) < limits.EPOCHS_PER_KEY_MAX:
            return hello.public_key, None
        epochs.pop(self._own_log, None)
        instead = gives_way(epochs, hello, dated_ms, is_news=news_of == hello.public_key)
        if instead is None and no_room:
            raise EntryError("too_many_logs", f"this node holds {limits.LOGS_MAX} logs already")
        if instead is None:
            # Whoever begins epochs without end shuts out nobody but itself.
            raise EntryError(
                "too_many_epochs", f"this node holds {limits.EPOCHS_PER_KEY_MAX} epochs of that member already"
            )
        return hello.public_key, instead

    def _give_way(self, log: bytes | None) -> list[bytes]:
        if log is None:
            return []
        self._gone.drop(log)
        self._forget(log)
        return [log]

    def _forget(self, log: bytes) -> None:
        if log != self._own_log:
            self._states.pop(log, None)
            self._convicted.pop(log, None)
            self._dates.pop(log, None)
            self._recent.pop(log, None)

    def _refusal_of_owner(self, public_key: bytes, now_ms: int) -> str:
        if self._is_known(public_key):
            return self._admission.refusal(public_key)
        return self._admission.refusal_of_new(public_key, now_ms)

    def _is_known(self, public_key: bytes) -> bool:
        return any(state.public_key == public_key for state in self._states.values())

    def _let_in(self, public_key: bytes) -> None:
        if not self._is_known(public_key):
            self._admission.let_in(public_key)

    def _turn_away(self, log: bytes, public_key: bytes) -> None:
        """Remember whose log it is: what is known to be refused is neither missed nor asked for."""
        self._turned_away[log] = public_key
        if len(self._turned_away) > limits.TURNED_AWAY_MAX:
            self._turned_away.popitem(last=False)

    def _advance(self, state: LogState, dated_ms: int) -> None:
        self._states[state.log] = state
        self._dates[state.log] = dated_ms
        self._remember(state.log, state.head)

    def _remember(self, log: bytes, head: Head) -> None:
        recent = self._recent.setdefault(log, OrderedDict())
        recent[head.seq] = head.hash
        if len(recent) > _RECENT_HASHES:
            recent.popitem(last=False)
