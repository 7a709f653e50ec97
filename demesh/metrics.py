"""What demesh counts about itself, for `/metrics`.

One counter holds every refusal, so that one look shows what a node turns away, and one alert catches any of it.
"""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # a second series for each counter, which nobody reads

REFUSED = Counter("demesh_refused_total", "What was refused, by room and reason.", ["room", "reason"])
ENTRIES = Counter("demesh_entries_total", "Entries that others offered, by what became of them.", ["outcome"])
ENTRIES_WRITTEN = Counter("demesh_entries_written_total", "Entries that this node wrote.")
RESULTS = Counter("demesh_results_total", "Results of this node's checks, by outcome.", ["outcome"])
SLOTS_MISSED = Counter("demesh_slots_missed_total", "Slots of this node's checks that passed without a run.")
SYNCS = Counter("demesh_syncs_total", "Sync sessions that this node began, by how they ended.", ["outcome"])
ALERT_POSTS = Counter("demesh_alert_posts_total", "Posts of alerts to a sink, by how they ended.", ["sink", "outcome"])
NOTIFICATIONS = Counter(
    "demesh_notifications_total", "Messages to direct sinks, by how they ended.", ["sink", "outcome"]
)
NOTIFY_LEASES = Counter(
    "demesh_notification_leases_total",
    "Leases that this node took to tell a sink: the first of a message, or after its own or another's came to nothing.",
    ["kind"],
)
HEARTBEATS = Counter("demesh_heartbeats_total", "Fetches of heartbeat_url, by how they ended.", ["outcome"])
ENTRIES_SKIPPED = Gauge(
    "demesh_entries_skipped", "Stored entries of known kinds that the view cannot read and leaves out."
)
GOSSIP = Counter(
    "demesh_gossip_messages_total",
    "Messages of entries on the wire, repeated ones included, by direction.",
    ["direction"],
)
SWARM_BYTES = Counter("demesh_swarm_bytes_total", "Bytes on connections of the mesh, by direction.", ["direction"])
NETWORK_RESTARTS = Counter("demesh_network_restarts_total", "Times that the network was built anew in place.")
NETWORK_UP = Gauge("demesh_network_up", "1 while the network runs; 0 while it is being built anew.")
PEERS = Gauge("demesh_peers", "Peers connected now.")
CONFIG_GOOD = Gauge(
    "demesh_config_good", "1 unless the configuration, read anew, was refused: then an older one is in force."
)
CONFIG_GOOD.set(1)
STORE_FORGOTTEN = Counter("demesh_store_forgotten_entries_total", "Entries that retention has forgotten.")
LATENESS = Histogram(
    "demesh_loop_lateness_seconds",
    "By how much this process overslept, measured four times a second.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


def begin(counter: Counter, outcomes: Iterable[str], *labels: str) -> None:
    """Tell these outcomes from now on, be it as 0: Prometheus' `increase` does not see the value with which a series begins."""
    for outcome in outcomes:
        counter.labels(*labels, outcome)


def total(metric: Counter | Gauge) -> float:
    """The sum of a metric over all its labels."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)
