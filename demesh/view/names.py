"""What members are called. A name is what a member says of itself, so two may say the same: then each gets `name~id6`."""

from collections.abc import Sequence

from demesh.identity import peer_id
from demesh.view.member import Member


def name_of(member: Member) -> str:
    """The name a member gives itself, or the start of its key in hex before its hello is known."""
    hello = member.current.hello
    return hello.name if hello else member.public_key.hex()[:12]


def shown_names(members: Sequence[Member]) -> dict[bytes, str]:
    """A name for each member's key that no other member has: the end of the peer id is added to those that clash."""
    plain = {member.public_key: name_of(member) for member in members}
    used = list(plain.values())
    return {key: name if used.count(name) == 1 else f"{name}~{peer_id(key)[-6:]}" for key, name in plain.items()}
