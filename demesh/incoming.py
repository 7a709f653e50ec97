"""What the network brings, handed to whom it is for: the node's `demesh.mesh.network.Handler`.

    message ─→ intake                 stream ─┬─ sync ──→ syncer
    peer comes, goes ─→ syncer                ├─ ask ───→ answerer
                                              ╰─ relay ─→ lender

Guarantees: no method raises for what a peer does; a store that fails while a peer is being served ends the node, by `run`.
"""

import trio

from demesh.asking import Answerer
from demesh.errors import StoreError
from demesh.mesh.intake import Intake
from demesh.mesh.network import ASK, RELAY, Network, Stream
from demesh.mesh.syncer import Syncer
from demesh.metrics import PEERS
from demesh.relaying import Lender


class Incoming:
    def __init__(self, network: Network, intake: Intake, syncer: Syncer, answerer: Answerer, lender: Lender) -> None:
        self._network = network
        self._intake = intake
        self._syncer = syncer
        self._answerer = answerer
        self._lender = lender
        self._failure: StoreError | None = None
        self._failed = trio.Event()

    async def run(self) -> None:
        """Raise what a handler may not. Raises StoreError, and otherwise lasts until cancelled."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def peer_connected(self, peer: bytes) -> None:
        PEERS.set(len(self._network.peers()))
        self._syncer.pull_from(peer)

    def peer_lost(self, peer: bytes) -> None:
        self._syncer.forget(peer)
        PEERS.set(len(self._network.peers()))

    def message(self, forwarder: bytes, data: bytes) -> None:
        self._intake.message(forwarder, data)

    async def stream(self, stream: Stream) -> None:
        if stream.protocol == ASK:
            await self._answerer.serve(stream)
            return
        if stream.protocol == RELAY:
            await self._lender.serve(stream)
            return
        try:
            await self._syncer.serve(stream)
        except StoreError as error:
            self._failure = error
            self._failed.set()
