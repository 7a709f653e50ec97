"""Gossip on one topic: libp2p's Pubsub and GossipSub, guarded.

Guaranteed: no bytes of a peer end the gossip service (the stock classes end the whole process on a malformed protobuf
or key, or if a validator raises); a message of this node is never handed back to it; a message of a restarted node is
not taken for one already seen; what is remembered per peer, per message and per topic is bounded. Not guaranteed:
delivery, at all or in order; each peer's queue holds 32 messages, and what does not fit is lost.

Messages are taken in the topic validator, before the library would queue them for a subscriber (32 deep, then dropped
with a warning each). It runs once for a message, after its signature was verified, and knows over whose connection it
came.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.utils.connection_shutdown import is_expected_connection_shutdown

from demesh import limits
from demesh.mesh.libp2p.identity import key_of
from demesh.metrics import GOSSIP, REFUSED

logger = logging.getLogger(__name__)

PROTOCOL = TProtocol("/meshsub/1.1.0")
HEARTBEAT_SECONDS = 1
READ_BYTES = 65_536
FLUSH_POLL_SECONDS = 0.01
_SENT, _RECEIVED = GOSSIP.labels("sent"), GOSSIP.labels("received")


class LeanGossipSub(GossipSub):
    """The router: GossipSub 1.1, without what the library added to it, and with fewer repetitions than by default: in a
    mesh of ten those make each message arrive nine times, and sync finds what gossip loses (docs/benchmarks.md).
    """

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL],
            degree=4,
            degree_low=3,
            degree_high=6,
            gossip_window=1,  # each message is announced in one heartbeat, not in three
            heartbeat_initial_delay=0.1,
            heartbeat_interval=HEARTBEAT_SECONDS,
            # The first would stretch the heartbeat to a minute in a small mesh, the second drop all but ten messages a
            # second of each forwarder, the third graft and prune by IP address.
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
            max_pending_messages_per_peer=limits.GOSSIP_MESSAGES_PENDING_PER_PEER_MAX,
        )
        self._beat = trio.Event()

    async def next_heartbeat(self) -> None:
        """Wait until the router has looked after its mesh once more."""
        await self._beat.wait()

    def mesh_heartbeat(self) -> Any:
        self._beat.set()
        self._beat = trio.Event()
        return super().mesh_heartbeat()

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        # A signed record of our addresses with every message: dear to verify, and nobody here dials by it.
        rpc.ClearField("senderRecord")
        super().send_rpc(peer_id, rpc, priority)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        await super().publish(msg_forwarder, pubsub_msg)
        # Both serve features that are off, and keep a time for every message for ever, and a thousand whole messages.
        self.recent_message_deliveries.clear()
        while len(self.equivocation_detection) > limits.GOSSIP_MESSAGES_REMEMBERED_MAX:
            del self.equivocation_detection[next(iter(self.equivocation_detection))]

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        # The stock method remembers a back-off for any topic a peer makes up.
        if prune_msg.topicID in self.mesh:
            await super().handle_prune(prune_msg, sender_peer_id)

    async def on_peer_subscribed(self, peer_id: ID, topic: str) -> None:
        await _contained(super().on_peer_subscribed(peer_id, topic))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        await _contained(super().flush_pending_messages(peer_id))

    def forget_expired(self, now_seconds: int) -> None:
        """Drop the back-offs that ended before `now_seconds` (Unix time); the stock class keeps those of peers that
        left.
        """
        for topic, until in self.back_off.items():
            self.back_off[topic] = {peer: seconds for peer, seconds in until.items() if seconds >= now_seconds}


class GuardedPubsub(Pubsub):
    """The service around the router. `take(forwarder, data)` gets every message of others once; it may not raise.

    What a key signed for which `allowed` says no is neither taken nor passed on, whoever forwards it.
    """

    def __init__(
        self,
        host: IHost,
        router: LeanGossipSub,
        topic: str,
        seqno: int,
        take: Callable[[bytes, bytes], None],
        allowed: Callable[[bytes], bool],
    ) -> None:
        super().__init__(host, router, strict_signing=True, allowed_topics={topic})
        # The stock counter starts at the time in seconds: whoever sent more than one message a second before a restart
        # would repeat numbers after it, and everyone drops what they have seen.
        self.counter = seqno
        self._take = take
        self._allowed = allowed
        self._write_locks: WeakKeyDictionary[INetStream, trio.Lock] = WeakKeyDictionary()
        self.set_topic_validator(topic, self._validate, is_async_validator=False)

    def _validate(self, forwarder: ID, message: rpc_pb2.Message) -> bool:
        """Whether to pass the message on. Takes it, too."""
        if forwarder == self.my_id:
            return True
        if message.from_id == self.my_id.to_bytes():
            return False
        if len(message.data) > limits.GOSSIP_MESSAGE_BYTES_MAX:
            REFUSED.labels("network", "oversize_message").inc()
            return False
        peer, author = key_of(forwarder), key_of(ID(message.from_id))
        if peer is None:
            return False
        if author is None or not self._allowed(author):
            REFUSED.labels("network", "not_allowed").inc()
            return False
        try:
            self._take(peer, message.data)
        except Exception:
            logger.exception("The handler of a gossip message failed.")
            REFUSED.labels("network", "handler_failed").inc()
        return True

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Nothing: the validator has it."""

    def get_hello_packet(self) -> rpc_pb2.RPC:
        packet = super().get_hello_packet()
        packet.ClearField("senderRecord")
        return packet

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        if msg_forwarder != self.my_id:
            _RECEIVED.inc()
        await _contained(self._push(msg_forwarder, msg))

    async def _push(self, forwarder: ID, message: rpc_pb2.Message) -> None:
        # The stock method drops a message that nobody signed without a word. To look first costs a hundredth of a delivery.
        if forwarder != self.my_id and not self._is_msg_seen(message) and not signature_validator(message):
            REFUSED.labels("network", "bad_signature").inc()
            return
        await super().push_msg(forwarder, message)

    async def stream_handler(self, stream: INetStream) -> None:
        # The stock method forgets what a peer subscribed to when one stream of it fails, also while its others live.
        try:
            await self.continuously_read_stream(cast(INetStream, BufferedReader(stream)))
            await stream.close()
        except Exception as error:  # noqa: BLE001 - garbage raises whatever it likes, and would end the service
            if not is_expected_connection_shutdown(error):
                logger.debug("The gossip stream of %s ended with %r.", stream.muxed_conn.peer_id, error)
                REFUSED.labels("network", "garbage_rpc").inc()
            await stream.reset()

    async def flush(self) -> None:
        """Wait until what was published has been written. May take for ever; to be called with a deadline."""
        while any(map(len, self.peer_queues.values())):  # noqa: ASYNC110 - the queues have no event for it
            await trio.sleep(FLUSH_POLL_SECONDS)
        for lock in tuple(self._write_locks.values()):
            async with lock:
                pass

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        # The stock class also writes past the queue of a peer, and Yamux interleaves the frames of two long writes.
        async with self._write_locks.setdefault(stream, trio.Lock()):
            _SENT.inc(len(rpc_msg.publish))
            return await super().write_msg(stream, rpc_msg)


class BufferedReader:
    """A stream of which `read(n)` gives all of `n` bytes.

    Pubsub reads lengths byte by byte, and Yamux answers each read with a window update: eleven packets for one message.
    """

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read(self, n: int) -> bytes:
        """Raises StreamEOF when the stream ends first."""
        while len(self._buffer) < n:
            self._buffer += await self._stream.read(READ_BYTES)
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def _contained(work: Awaitable[None]) -> None:
    """Await `work`, a task that a peer's message caused. An exception out of it would end the service."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - see above
        logger.debug("Handling a gossip message failed with %r.", error)
        if not is_expected_connection_shutdown(error):
            REFUSED.labels("network", "garbage_rpc").inc()
