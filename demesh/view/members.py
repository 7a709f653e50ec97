"""The members as `demesh members --json` and `GET /api/v1/members` tell them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demesh.identity import peer_id
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.names import names_of_everyone
from demesh.view.presence import Presence
from demesh.view.report import iso, seen_ms

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contact:
    """Where a member is, or was last, as far as this node's connections go."""

    address: str
    connected: bool
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one node knows of the others at a moment: `now_ms` on its monotonic clock, `wall_ms` on its wall clock.

    `head_seq` is what it holds of a log, `furthest` what any peer was seen to hold; -1 for nothing.
    """

    view: View
    own_key: bytes
    contacts: Mapping[bytes, Contact]
    head_seq: Callable[[bytes], int]
    furthest: Callable[[bytes], int]
    now_ms: int
    wall_ms: int


def members_told(outlook: Outlook) -> list[Json]:
    """Everyone, by name; who has left too."""
    names = names_of_everyone(outlook.view)
    told = [_member(outlook, each, names[each.public_key]) for each in outlook.view.everyone()]
    return sorted(told, key=lambda member: member["name"])


def _member(outlook: Outlook, member: Member, name: str) -> Json:
    view, now_ms, wall_ms = outlook.view, outlook.now_ms, outlook.wall_ms
    current, hello = member.current, member.current.hello
    contact = outlook.contacts.get(member.public_key)
    head = outlook.head_seq(current.log)
    told = hello.addresses[0] if hello and hello.addresses else None
    own = member.public_key == outlook.own_key
    return {
        "name": name,
        "peer_id": peer_id(member.public_key),
        "self": own,
        "presence": str(view.presence(member, now_ms)),
        "seen_at": iso(seen_ms(view, member, now_ms, wall_ms)),
        "connected": contact is not None and contact.connected,
        "address": contact.address if contact else told,
        "rtt_ms": round(contact.rtt_ms, 1) if contact and contact.rtt_ms is not None else None,
        "clock_skew_ms": None if own else _skew_ms(view, member, now_ms, wall_ms),
        "log": current.log.hex(),
        "head_seq": head,
        "lag_entries": max(0, outlook.furthest(current.log) - head),
        "version": hello.version if hello else None,
        "tags": list(hello.tags) if hello else [],
        "addresses": list(hello.addresses) if hello else [],
    }


def _skew_ms(view: View, member: Member, now_ms: int, wall_ms: int) -> int | None:
    """By how much a living member's wall clock is ahead of ours. Too small by the time of the fastest delivery."""
    newest = member.current.newest
    if newest is None or view.presence(member, now_ms) not in (Presence.ALIVE, Presence.SUSPECT):
        return None
    made_ms = member.current.clock.local_ms(newest.boot8, newest.up_ms) if member.current.clock.live else None
    return None if made_ms is None else newest.wall_ms - (wall_ms - (now_ms - made_ms))
