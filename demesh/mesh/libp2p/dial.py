"""Who listens at an address: from host and port to an authenticated connection, or an error that names the cause.

People write peers as `host:port`; libp2p wants to know a peer's id before it dials. Noise XX needs no such thing, since
the far end proves its identity in the handshake, so this dials, shakes hands, and says whom it met; the same connection
is then used.

What an address can answer, in the order in which we find out:

    connect refused, unreachable, timed out     the sentence says which
    closes, or does not greet in time           full, or no demesh at all: its swarm key is unknown
    bytes that are not multistream's greeting   another swarm key (or none, or another protocol)
    the greeting, but no Noise handshake        our swarm key, and something is broken
    our own identity, or not the expected one   the sentence says so

The greeting comes first on every libp2p connection and is fixed, so another swarm key is known after one round trip
instead of when both ends have timed out on each other's nonsense. While the swarm key changes, a far end that answers with
another one than the new is dialled again with the old.
"""

import ipaddress
from dataclasses import dataclass

import trio
from libp2p.abc import ISecureConn
from libp2p.io.utils import read_exactly
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID, MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL

from demesh import limits
from demesh.address import address_text
from demesh.errors import DialError
from demesh.identity import SwarmKey, peer_id
from demesh.mesh.libp2p.identity import NotAllowed, NotAPeer, Ourselves, PeerNoise, key_of
from demesh.mesh.libp2p.psk import GREETING, PskStream
from demesh.mesh.libp2p.transport import PskTCP

CONNECT_SECONDS_MAX = limits.DIAL_SECONDS_MAX - limits.PEER_UPGRADE_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Dialler:
    """What every dial of one node has in common."""

    transport: PskTCP
    noise: PeerNoise

    async def meet(self, host: str, port: int, expected: bytes | None) -> tuple[bytes, ISecureConn]:
        """The public key of the peer at `host` (an IP address) and `port`, and a connection to it, not yet multiplexed.

        Raises DialError, within DIAL_SECONDS_MAX for each swarm key.
        """
        *newer, oldest = self.transport.keys
        for key in newer:
            try:
                return await self._meet(host, port, expected, key)
            except DialError as error:
                if not error.wrong_swarm_key:
                    raise
        return await self._meet(host, port, expected, oldest)

    async def _meet(self, host: str, port: int, expected: bytes | None, key: SwarmKey) -> tuple[bytes, ISecureConn]:
        where = address_text(host, port)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise DialError(f"{where} cannot be dialled: {host} is not an IP address.") from None
        stream = await self._connected(host, port, where, key)
        try:
            secured = await self._secured(stream, where)
            remote = key_of(secured.get_remote_peer())
            assert remote is not None, "PeerNoise lets only Ed25519 identities pass"
            if expected is not None and remote != expected:
                raise DialError(f"{where} is the node {peer_id(remote)}, not {peer_id(expected)} as expected.")
            return remote, secured
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.close()
            raise

    async def _connected(self, host: str, port: int, where: str, key: SwarmKey) -> PskStream:
        try:
            with trio.fail_after(CONNECT_SECONDS_MAX):
                return await self.transport.connect(host, port, key)
        except trio.TooSlowError:
            raise DialError(f"{where} did not answer within {CONNECT_SECONDS_MAX} s.") from None
        except ConnectionRefusedError:
            raise DialError(f"{where} refused the connection: nothing listens there.") from None
        except OSError as error:
            raise DialError(f"{where} cannot be reached: {error.strerror}.") from None

    async def _secured(self, stream: PskStream, where: str) -> ISecureConn:
        raw = RawConnection(stream, True)
        greeted = False
        try:
            with trio.fail_after(limits.PEER_UPGRADE_SECONDS_MAX):
                communicator = MultiselectCommunicator(stream)
                await communicator.write(MULTISELECT_PROTOCOL_ID)
                greeted = await read_exactly(stream, len(GREETING)) == GREETING
                if not greeted:
                    raise self._wrong_key(where)
                await MultiselectClient().try_select(communicator, NOISE_PROTOCOL)
                return await self.noise.secure_outbound(raw, None)
        except DialError:
            raise
        except Ourselves:
            raise DialError(f"{where} is this node itself.", ourselves=True) from None
        except NotAllowed as error:
            raise DialError(
                f"{where} is the node {error.peer}, which this node's configuration does not let in."
            ) from None
        except NotAPeer as error:
            raise DialError(f"{where} has our swarm key, but is no demesh node: {error}") from None
        except Exception as error:  # whatever the library makes of a stranger's bytes, or of a connection that ends
            if greeted:
                raise DialError(
                    f"{where} has our swarm key, but the handshake failed ({type(error).__name__})."
                ) from error
            if isinstance(error, trio.TooSlowError):
                raise DialError(
                    f"{where} accepts connections but did not greet within {limits.PEER_UPGRADE_SECONDS_MAX} s: "
                    "it is overloaded, or no demesh node.",
                    wrong_swarm_key=bool(stream.received_bytes),  # nobody knows; an older key may be tried
                ) from None
            if stream.received_bytes:
                raise self._wrong_key(where) from error
            raise DialError(f"{where} closed the connection at once: it is full, or no demesh node.") from None

    def _wrong_key(self, where: str) -> DialError:
        return DialError(
            f"{where} answers, but not with our swarm key (fingerprint {self.transport.keys[0].fingerprint}). If the mesh "
            "has another one now, let a member make a `demesh invite` and give it to `demesh join` here.",
            wrong_swarm_key=True,
        )
