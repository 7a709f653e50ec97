"""Who may be a member: whose logs this node takes in, and how fast it gets to know new keys. Pure.

Guarantees: a denied key is refused, whatever else is said of it; under `listed` every key is that `members` does not name;
this node's own key never is. Of keys that nobody vouched for, NEW_MEMBERS_BURST are let in at once and then
NEW_MEMBERS_PER_HOUR, on the monotonic clock; another log of a member that is known already costs nothing.

Not guaranteed: that two nodes let the same keys in. Each goes by its own configuration and by what it met first.
"""

from dataclasses import dataclass

from demesh import limits

DENIED, NOT_LISTED, TOO_MANY_MEMBERS = "denied", "not_listed", "too_many_members"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says of public keys."""

    members: frozenset[bytes] = frozenset()
    """Those that it names: they are let in at any rate."""
    listed: bool = False
    """Whether nobody else is."""
    denied: frozenset[bytes] = frozenset()


class Admission:
    """`own_key` is this node's. `policy` may be replaced at any time."""

    def __init__(self, own_key: bytes = b"", policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._own_key = own_key
        self._places = float(limits.NEW_MEMBERS_BURST)
        self._counted_ms = 0

    def refusal(self, key: bytes) -> str:
        """Why nothing of `key` counts here: `DENIED`, `NOT_LISTED`, or empty if it does."""
        if key == self._own_key:
            return ""
        if key in self.policy.denied:
            return DENIED
        return NOT_LISTED if self.policy.listed and key not in self.policy.members else ""

    def allows(self, key: bytes) -> bool:
        return not self.refusal(key)

    def refusal_of_new(self, key: bytes, now_ms: int) -> str:
        """Why a key of which nothing is held yet is refused now; may also be `TOO_MANY_MEMBERS`."""
        refusal = self.refusal(key)
        if refusal or self._is_vouched_for(key):
            return refusal
        gained = max(0, now_ms - self._counted_ms) * limits.NEW_MEMBERS_PER_HOUR / _HOUR_MS
        self._places = min(limits.NEW_MEMBERS_BURST, self._places + gained)
        self._counted_ms = now_ms
        return "" if self._places >= 1 else TOO_MANY_MEMBERS

    def let_in(self, key: bytes) -> None:
        """A key that was new has become a member's."""
        if not self._is_vouched_for(key):
            self._places -= 1

    def _is_vouched_for(self, key: bytes) -> bool:
        return key == self._own_key or key in self.policy.members
