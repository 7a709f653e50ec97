"""An invitation: one line that holds all that a newcomer needs to become a member.

    demesh1:BASE64URL      of CBOR [1, swarm_key32, mesh_id16, [peer, …], inviter, name] and the first 6 bytes of its BLAKE2b

Guaranteed: a mistyped, cut or wrapped line is told from a whole one, and no message quotes it. Whoever has the line can join
the mesh: it is as secret as the swarm key.
"""

import base64
import hashlib
from dataclasses import dataclass

from demesh import limits
from demesh.address import parse_peer
from demesh.errors import EntryError, UsageError
from demesh.identity import SwarmKey
from demesh.log.codec import Fields, decode, encode, values

_PREFIX = "demesh1:"
_SUM_BYTES = 6


@dataclass(frozen=True, slots=True)
class Invitation:
    """`peers` are addresses as `[mesh] peers` has them; `name` is what the newcomer might be called, or empty."""

    key: SwarmKey
    mesh_id: bytes
    peers: tuple[str, ...]
    inviter: str
    name: str = ""

    def line(self) -> str:
        peers = values([*self.peers])
        content = encode([1, self.key.psk, self.mesh_id, peers, self.inviter, self.name])
        return _PREFIX + _coded(content + _sum(content))


def read_invitation(text: str) -> Invitation:
    """What a line says, blanks around it aside. Raises UsageError."""
    line = text.strip()
    if not line:
        raise UsageError(
            "There is no invitation on standard input: `demesh invite | ssh HOST demesh join` gives it one."
        )
    if not line.startswith("demesh"):
        raise UsageError(f"This is no invitation: one is a single line that begins with {_PREFIX}")
    if not line.startswith(_PREFIX):
        raise UsageError("This invitation is of another version of demesh; use the same version on both machines.")
    if len(line.split()) > 1:
        raise UsageError("There is more than one line, or a blank in it; an invitation is one line without blanks.")
    coded = line.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    content, sum_ = raw[:-_SUM_BYTES], raw[-_SUM_BYTES:]
    if not content or _sum(content) != sum_ or _coded(raw) != coded:
        raise UsageError(
            "The invitation is damaged: a character is wrong, or a part of the line is missing. Copy all of it, or pipe "
            "it: demesh invite | ssh HOST demesh join"
        )
    return _read(content)


def _read(content: bytes) -> Invitation:
    try:
        fields = Fields(decode(content), "the invitation")
        fields.uint("version", 255)
        key = SwarmKey(fields.octets("swarm key", 32))
        mesh_id = fields.octets("mesh id", 16)
        peers = fields.texts("peers", limits.ADDRESSES_MAX)
        inviter = fields.text("inviter", limits.NAME_CHARS_MAX)
        name = fields.text("name", limits.NAME_CHARS_MAX)
        for peer in peers:
            parse_peer(peer)
    except (EntryError, UsageError) as error:
        raise UsageError(f"This is no invitation that this version understands: {error}") from None
    return Invitation(key, mesh_id, peers, inviter, name)


def _coded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM_BYTES, person=b"demesh/invite/1").digest()
