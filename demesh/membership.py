"""Membership: who the members are and where, whom to forget, whom to dial, and what of that outlives this process.

It puts together what the view knows of members, what the network knows of connections and what sync saw of heads.
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import trio

from demesh import limits
from demesh.address import address_text
from demesh.clock import Clock
from demesh.errors import NetworkError, UsageError
from demesh.identity import peer_id
from demesh.interfaces import OwnAddress
from demesh.log.chain import Logs
from demesh.log.event import FORGET, Event
from demesh.log.storage import Storage
from demesh.mesh.network import Network
from demesh.mesh.reach import Candidates
from demesh.mesh.seen import Sightings, addresses_to_tell
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.members import Contact, Outlook, members_told
from demesh.view.names import name_of, names_of_everyone
from demesh.view.presence import Presence
from demesh.view.standing import NOTE, encode_standings

_NOTE_SECONDS = 5
_WITNESSES_MAX = 8
"""So many peers at most are asked where they see this node."""


class Membership:
    """`furthest` is how far any peer was seen to hold a log; `own_addresses` looks at this machine's interfaces."""

    def __init__(
        self,
        view: View,
        logs: Logs,
        storage: Storage,
        network: Network,
        clock: Clock,
        own_key: bytes,
        furthest: Callable[[bytes], int],
        own_addresses: Callable[[], list[OwnAddress]],
    ) -> None:
        self._view = view
        self._logs = logs
        self._storage = storage
        self._network = network
        self._clock = clock
        self._own_key = own_key
        self._furthest = furthest
        self._own_addresses = own_addresses
        self._contacts: dict[bytes, Contact] = {}
        self._sightings = Sightings()
        self._noted: bytes | None = None
        self._found: dict[bytes, Sequence[str]] = {}

    async def run(self) -> None:
        """Keep noting how long others were silent and who has left, until cancelled. Raises StoreError."""
        while True:
            await trio.sleep(_NOTE_SECONDS)
            note = encode_standings(self._view.standings())
            if note != self._noted:
                await self._storage.call(lambda store, note=note: store.set_note(NOTE, note))
                self._noted = note

    def told(self) -> list[dict[str, Any]]:
        """The answer of `demesh members --json`."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        outlook = Outlook(self._view, self._own_key, self._look(), self._head_seq, self._furthest, now_ms, wall_ms)
        return members_told(outlook)

    def forget(self, wanted: str) -> Event:
        """The event that makes a member, by name or peer id, one that has left. Raises UsageError."""
        member = self._find(wanted)
        name = names_of_everyone(self._view)[member.public_key]
        if member.public_key == self._own_key:
            raise UsageError("This is the node itself; `demesh node leave` makes it leave the mesh.")
        state = self._view.presence(member, self._clock.monotonic_ms())
        if state in (Presence.ALIVE, Presence.SUSPECT):
            raise UsageError(
                f"{name} is alive, and would be a member again with its next entry. Run `demesh node leave` there first, or "
                "turn its key away with mesh.deny."
            )
        if state == Presence.LEFT:
            raise UsageError(f"{name} has left already.")
        log = member.current.log
        return Event(FORGET, peer_id(member.public_key), {"log": log.hex(), "seq": str(self._head_seq(log))})

    def candidates(self) -> Candidates:
        """Where the members can be dialled, by what they say, and those that were found in the local network: these first."""
        left = {each.public_key for each in self._view.everyone() if each.left}
        found = {
            key: tuple(addresses)
            for key, addresses in self._found.items()
            if key not in left and not self._view.bars(key)
        }
        for member in self._view.members():
            if member.public_key != self._own_key and member.current.hello and member.current.hello.addresses:
                found[member.public_key] = (*found.get(member.public_key, ()), *member.current.hello.addresses)
        return found

    def found(self, key: bytes, addresses: Sequence[str]) -> None:
        """A node was found in the local network, and whose it claims to be."""
        if key != self._own_key and (key in self._found or len(self._found) < limits.MDNS_FOUND_MAX):
            self._found[key] = addresses

    def own_addresses(self) -> list[str]:
        """The multiaddrs to tell others to dial, the most useful ones first."""
        listening = self._network.listen_addresses()
        networks = [each.network for each in self._own_addresses()]
        return addresses_to_tell(listening, self._network.dialable_addresses(), self._sightings.hosts(networks))

    async def keep_addresses(self, greet_anew: Callable[[], Awaitable[bool]]) -> None:
        """Have the mesh told (`greet_anew`, which says whether it was) when this node can be dialled at other addresses, not
        too often; until cancelled. Raises StoreError."""
        told_at = -math.inf
        while True:
            await trio.sleep(limits.ADDRESSES_LOOK_SECONDS)
            await self.look_outside()
            if trio.current_time() - told_at >= limits.ADDRESSES_TOLD_SECONDS_MIN and await greet_anew():
                told_at = trio.current_time()

    async def look_outside(self) -> None:
        """Ask peers where they see this node, those that have not said yet."""
        self._look()
        self._sightings.keep(self._network.peers())
        for peer in list(self._unasked()):
            try:
                seen = await self._network.seen_at(peer)
            except NetworkError:
                continue
            host = next((link.host for link in self._network.links() if link.peer == peer), "")
            if host:
                self._sightings.note(peer, host, seen)

    def _unasked(self) -> Iterator[bytes]:
        peers = sorted(self._network.peers())
        room = _WITNESSES_MAX - self._sightings.witnesses()
        return (
            peer
            for _, peer in zip(range(room), (each for each in peers if not self._sightings.said_by(each)), strict=False)
        )

    def _look(self) -> dict[bytes, Contact]:
        """Where each peer is, or was when it was connected last."""
        known = {each.public_key for each in self._view.everyone()}
        self._contacts = {
            peer: Contact(contact.address, connected=False) for peer, contact in self._contacts.items() if peer in known
        }
        for link in sorted(self._network.links(), key=lambda link: link.outgoing):
            if link.peer in known:
                self._contacts[link.peer] = Contact(
                    address_text(link.host, link.port), connected=True, rtt_ms=link.rtt_ms
                )
        return self._contacts

    def _find(self, wanted: str) -> Member:
        everyone, names = self._view.everyone(), names_of_everyone(self._view)
        found = [each for each in everyone if wanted in (names[each.public_key], peer_id(each.public_key))]
        found = found or [each for each in everyone if name_of(each) == wanted]
        if not found:
            raise UsageError(f"There is no member {wanted!r}; `demesh members --all` lists them.")
        if len(found) > 1:
            shown = ", ".join(sorted(names[each.public_key] for each in found))
            raise UsageError(f"{wanted!r} is the name of more than one: {shown}. Say which.")
        return found[0]

    def _head_seq(self, log: bytes) -> int:
        state = self._logs.get(log)
        return state.head.seq if state else -1
