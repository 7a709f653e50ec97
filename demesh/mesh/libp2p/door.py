"""How many connections may be half-open: accepted, and not yet proved to be a peer.

A stranger without the swarm key can hold a connection open until the upgrade times out. Bounding those in total keeps
the strangers from taking the slots of peers; bounding them per address keeps one stranger from shutting out the others.
An IPv6 host commands a whole /64, so that counts as one address.

Not guaranteed: that a peer gets in while an attacker with many addresses keeps the total full.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable


class Door:
    """Counts who stands at the door. Not a queue: whoever finds it full is turned away."""

    def __init__(self, total_max: int, per_address_max: int) -> None:
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._waiting: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def enter(self, host: str) -> Callable[[], None] | None:
        """Admit a connection from `host` (an IP address): returns what to call when it is no longer half-open (calling
        it again does nothing), or None when it must be refused.
        """
        address = _counted_as(host)
        if self.waiting >= self._total_max or self._waiting[address] >= self._per_address_max:
            return None
        self._waiting[address] += 1
        inside = False

        def leave() -> None:
            nonlocal inside
            if not inside:
                inside = True
                self._waiting[address] -= 1
                if not self._waiting[address]:
                    del self._waiting[address]

        return leave


def _counted_as(host: str) -> str:
    ip = ipaddress.ip_address(host)
    if ip.version == 4:
        return host
    return str(ipaddress.ip_network((int(ip), 64), strict=False))
