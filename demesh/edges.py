"""Everything through which a node touches the world. A test or a simulation runs the very wiring of `demesh.node` with others."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from demesh.alerts.alertmanager import Post
from demesh.alerts.delivery import Fetch, Notify, no_fetch, no_notify
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.historian import HistoryStorage
from demesh.interfaces import OwnAddress
from demesh.log.epoch import Marker
from demesh.log.storage import Storage
from demesh.log.store import Store
from demesh.mesh.network import Network
from demesh.probes.base import Probe
from demesh.probes.relays import Relays
from demesh.pulse import Pulse
from demesh.view.history_store import HistoryStore


@dataclass(frozen=True, slots=True)
class Edges:
    clock: Clock
    store: Store
    """Read at start, before anything runs."""
    storage: Storage
    """The same store for running tasks."""
    history: HistoryStore
    """Read at start; holds no more than `store` does."""
    history_storage: HistoryStorage
    network: Network
    probes: Mapping[str, Probe]
    post: Post
    read_marker: Callable[[], Marker | None]
    write_marker: Callable[[Marker], None]
    rng: random.Random
    load_settings: Callable[[], Awaitable[Settings]]
    """Reads the configuration anew. Raises UsageError, with every problem, for a bad one."""
    epoch_nonce: Callable[[], bytes]
    """Eight fresh random bytes, for a new epoch."""
    machine: str = ""
    """What tells this machine from others, and outlives a reboot."""
    public_probes: Mapping[str, Probe] = field(default_factory=dict[str, Probe])
    """Like `probes`, but they ask public addresses only."""
    listed_probes: Mapping[str, Probe] | None = None
    """The same for checks of lists of public servers: that a name leads elsewhere is their error. None: `public_probes`."""
    notify: Notify = no_notify
    """Sends one message to one direct sink."""
    fetch: Fetch = no_fetch
    """Fetches the heartbeat's URL."""
    late_ms: Callable[[], int] = lambda: 0
    """How late this process is, 99 of 100 times (`demesh.lateness`)."""
    relays: Relays = field(default_factory=Relays)
    """What probes of TURN servers know of members that help; the node fills it."""
    starting: Callable[[str], None] = lambda _: None
    """Told how far a start has got, which may take long."""
    pulse: Pulse = field(default_factory=Pulse)
    """Told of each wait for the disk by `storage` and `history_storage`, and by the node of its loops."""
    own_addresses: Callable[[], list[OwnAddress]] = list
    """Looks at the machine's interfaces; none by default."""
