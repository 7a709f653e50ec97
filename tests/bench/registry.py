"""The benchmarks by name, in the order in which they run."""

from collections.abc import Callable

from tests.bench.append import append
from tests.bench.bytes_per_result import bytes_per_result
from tests.bench.figure import Figure
from tests.bench.intake import intake
from tests.bench.join import join
from tests.bench.load import load
from tests.bench.loading import loading
from tests.bench.mesh import mesh
from tests.bench.node_at_rest import node_at_rest, node_with_ten_peers
from tests.bench.probes import probes
from tests.bench.ranking import ranking
from tests.bench.scope import Scope
from tests.bench.status_command import status_command
from tests.bench.stun import stun

Benchmark = Callable[[Scope], list[Figure]]
"""Measures in an empty directory; may take a minute and a half. Raises when what ran was not what should be measured."""

USUAL: dict[str, Benchmark] = {
    "probes": probes,
    "stun": stun,
    "load": load,
    "bytes": bytes_per_result,
    "intake": intake,
    "append": append,
    "loading": loading,
    "ranking": ranking,
    "status": status_command,
    "rest": node_at_rest,
}
"""What runs when none is named: less than six minutes altogether."""

ON_REQUEST: dict[str, Benchmark] = {
    "ten-peers": node_with_ten_peers,
    "mesh": mesh,
    "join": join,
}
"""What runs only when it is named."""
