"""What members are called. A name is what a member says of itself, so two may say the same: then each gets `name~id6`.

Guarantees: nobody is called what another is called, and nodes that hold the same hellos, and agree on who has left, call everyone
the same. Who has left takes no name away from a member; only one that has left itself is then told apart by its id.
"""

from collections import Counter
from collections.abc import Sequence

from demesh.identity import peer_id
from demesh.view.fold import View
from demesh.view.member import Member

_SHORT = 6


def name_of(member: Member) -> str:
    """The name a member gives itself, or the start of its key in hex before its hello is known."""
    hello = member.current.hello
    return hello.name if hello else member.public_key.hex()[:12]


def shown_names(members: Sequence[Member], left: Sequence[Member] = ()) -> dict[bytes, str]:
    """A name for each key: the end of the peer id is added to those that clash, all of it where that is not enough."""
    shown = told_apart({member.public_key: name_of(member) for member in members}, frozenset())
    return shown | told_apart({each.public_key: name_of(each) for each in left}, frozenset(shown.values()))


def names_of_everyone(view: View) -> dict[bytes, str]:
    """What the members are called, and those that have left."""
    members = view.members()
    present = {member.public_key for member in members}
    return shown_names(members, [each for each in view.everyone() if each.public_key not in present])


def told_apart(plain: dict[bytes, str], taken: frozenset[str]) -> dict[bytes, str]:
    """`plain` names by key, each with the end of the peer id where it is not its owner's alone, or is one of `taken`."""
    shown = plain
    if len(set(plain.values())) == len(plain) and taken.isdisjoint(plain.values()):
        return shown
    for length in (_SHORT, None, None):  # a member may call itself what another is shown as
        used = Counter(shown.values())
        shown = {
            key: f"{plain[key]}~{_end_of_id(key, length)}" if used[name] > 1 or name in taken else name
            for key, name in shown.items()
        }
    return shown


def _end_of_id(public_key: bytes, length: int | None) -> str:
    return peer_id(public_key)[-length if length else 0 :]
