"""The line that `systemctl status` shows of a node. Pure.

It says how many, never which: the journal keeps it, and more people may read that than may ask the node.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from demesh.view.verdict import Verdict

_ORDER = (Verdict.DOWN, Verdict.PARTIAL, Verdict.FLAPPING, Verdict.UNKNOWN, Verdict.PAUSED, Verdict.UP)


@dataclass(frozen=True, slots=True)
class Glance:
    """A node at one moment: with how many of its peers, all other members, it is connected; what the mesh says of the checks."""

    connected: int
    peers: int
    verdicts: Collection[Verdict]
    network_runs: bool = True
    config_good: bool = True


def status_line(now: Glance) -> str:
    """`2/3 peers, 1 down, 12 up`: the worst first."""
    counted = [(list(now.verdicts).count(each), each.value) for each in _ORDER]
    return ", ".join(
        (
            *_troubles(now),
            f"{now.connected}/{now.peers} peers",
            *(f"{count} {verdict}" for count, verdict in counted if count),
        )
    )


def _troubles(now: Glance) -> Iterable[str]:
    if not now.config_good:
        yield "the changed configuration is refused, an older one is in force"
    if not now.network_runs:
        yield "the network is being built anew"
