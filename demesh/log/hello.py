"""The payload `hello`: who writes this log. The first entry of every log, written again whenever something in it changes.

    [public_key32, epoch_nonce8, name, version, formats, kinds, protocols, tags, presence, addresses, previous, fork_proofs]

`previous` is the head of the member's epoch before this one, `[log16, seq, hash32]`, or `[]`; `fork_proofs` are the hashes
of the proofs that this epoch answers to. The newest hello of a log counts.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, values
from demesh.log.entry import FORMAT, KINDS_UNDERSTOOD, Entry, Kind, log_id
from demesh.log.head import Head


class PresenceProfile(IntEnum):
    """How the silence of a member is to be taken."""

    STEADY = 0  # silence is a fault
    ROAMING = 1  # it comes and goes (a laptop); silence is not a fault


@dataclass(frozen=True, slots=True)
class Hello:
    public_key: bytes
    epoch_nonce: bytes
    name: str
    version: str
    tags: tuple[str, ...] = ()
    presence: PresenceProfile = PresenceProfile.STEADY
    addresses: tuple[str, ...] = ()
    """Multiaddrs, without the peer id, where the node can be dialled."""
    previous: tuple[bytes, Head] | None = None
    formats: tuple[int, ...] = (FORMAT,)
    kinds: tuple[int, ...] = tuple(map(int, KINDS_UNDERSTOOD))
    protocols: tuple[str, ...] = field(default=("/demesh/sync/1",))
    fork_proofs: tuple[bytes, ...] = ()

    @property
    def log(self) -> bytes:
        return log_id(self.public_key, self.epoch_nonce)

    def payload(self) -> Value:
        previous: list[Value] = []
        if self.previous is not None:
            log, head = self.previous
            previous = [log, head.seq, head.hash]
        return [
            self.public_key,
            self.epoch_nonce,
            self.name,
            self.version,
            values(self.formats),
            values(self.kinds),
            values(self.protocols),
            values(self.tags),
            int(self.presence),
            values(self.addresses),
            previous,
            values(self.fork_proofs),
        ]


def read_hello(entry: Entry) -> Hello:
    """The hello in `entry`. Raises EntryError if it is none, or not one for the log it stands in."""
    if entry.kind != Kind.HELLO:
        raise EntryError("shape", "not a hello")
    fields = Fields(entry.payload, "the hello")
    public_key = fields.octets("public key", 32)
    epoch_nonce = fields.octets("epoch nonce", 8)
    if log_id(public_key, epoch_nonce) != entry.log:
        raise EntryError("wrong_key", "the hello's key and nonce do not make the id of its log")
    name = fields.text("name", limits.NAME_CHARS_MAX, 1)
    version = fields.text("version", limits.NAME_CHARS_MAX)
    formats = fields.uints("formats", 16, 255)
    kinds = fields.uints("kinds", 64, 2**16 - 1)
    protocols = fields.texts("protocols", 16, limits.NAME_CHARS_MAX)
    tags = fields.texts("tags", limits.TAGS_MAX, limits.NAME_CHARS_MAX)
    presence = fields.uint("presence", 255)
    addresses = fields.texts("addresses", limits.ADDRESSES_MAX)
    previous = fields.array("previous epoch", 16)
    proofs = Fields(fields.array("fork proofs", 16), "the fork proofs")
    return Hello(
        public_key=public_key,
        epoch_nonce=epoch_nonce,
        name=name,
        version=version,
        tags=tags,
        # A profile of a later version is read as the one that hides nothing.
        presence=PresenceProfile(presence) if presence in tuple(PresenceProfile) else PresenceProfile.STEADY,
        addresses=addresses,
        previous=_read_previous(previous),
        formats=tuple(formats),
        kinds=tuple(kinds),
        protocols=protocols,
        fork_proofs=tuple(proofs.rest_octets("fork proof", 32)),
    )


def is_hello_of(public_key: bytes, entry: Entry) -> bool:
    """Whether `entry` is a hello of the log it stands in, and that log one of the owner of `public_key`."""
    try:
        return read_hello(entry).public_key == public_key
    except EntryError:
        return False


def _read_previous(value: list[Value]) -> tuple[bytes, Head] | None:
    if not value:
        return None
    fields = Fields(value, "the previous epoch")
    log = fields.octets("log id", 16)
    return log, Head(fields.uint("sequence number", limits.SEQ_MAX), fields.octets("hash", 32))
