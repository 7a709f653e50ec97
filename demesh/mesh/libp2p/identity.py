"""Who a peer is: the Ed25519 key that its Noise handshake proved.

Guaranteed: whatever passes `PeerNoise` has an Ed25519 identity that is not our own and that is allowed, so every peer of the
swarm has a 32-byte name. libp2p also knows RSA, secp256k1 and ECDSA identities, whose peer id may be a hash; those are refused
and counted. Our own identity comes back when a node dials itself, or when a node key was copied; two nodes of one identity
cannot talk.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport as NoiseTransport

from demesh import limits
from demesh.errors import UsageError
from demesh.identity import peer_id, public_key_of
from demesh.metrics import REFUSED


class NotAPeer(HandshakeFailure):
    """The handshake was right, but the identity is none we talk to."""


class Ourselves(NotAPeer):
    """The far end has our own identity."""


class NotAllowed(NotAPeer):
    """The far end has proven a key that this node does not let in. `peer` is its peer id."""

    def __init__(self, peer: str) -> None:
        super().__init__(f"The node {peer} is not let in.")
        self.peer = peer


class PeerNoise(NoiseTransport):
    """Noise that lets only other Ed25519 identities pass, of keys for which `allowed` says yes."""

    def __init__(self, *args: Any, allowed: Callable[[bytes], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowed = allowed

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return await self._checked(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID | None) -> ISecureConn:
        """Unlike the inherited method, also without knowing the far end's id: it is authenticated either way."""
        return await self._checked(await self.get_pattern().handshake_outbound(conn, peer_id))

    async def _checked(self, conn: ISecureConn) -> ISecureConn:
        remote = conn.get_remote_peer()
        if remote == self.local_peer:
            await conn.close()
            REFUSED.labels("network", "ourselves").inc()
            raise Ourselves("The far end has this node's own identity.")
        key = key_of(remote)
        if key is None:
            await conn.close()
            REFUSED.labels("network", "not_ed25519").inc()
            raise NotAPeer(f"The identity {remote} is not an Ed25519 key.")
        if not self._allowed(key):
            await conn.close()
            REFUSED.labels("network", "not_allowed").inc()
            raise NotAllowed(peer_id(key))
        return conn


def id_of(public_key: bytes) -> ID:
    """libp2p's peer id of an Ed25519 public key."""
    return ID.from_base58(peer_id(public_key))


def key_of(peer: ID) -> bytes | None:
    """The Ed25519 public key in libp2p's peer id, or None if it holds none."""
    return _key_in(peer.to_base58())


@lru_cache(maxsize=limits.LOGS_MAX)
def _key_in(text: str) -> bytes | None:
    try:
        return public_key_of(text)
    except UsageError:
        return None
