"""The server's side of sync (`demesh.mesh.sync`): what it says of its logs, and what it hands out of them.

Guarantees: only what was offered is handed out, and a page that stands in a row ends at a signed entry, or in front of a fork
that is proven. Keeps no state but that of one session.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from demesh import limits
from demesh.errors import SyncError
from demesh.log.codec import encode, values
from demesh.log.entry import Entry, Envelope, Kind
from demesh.log.evidence import Proof
from demesh.log.state import LogState, vector, vector_digest
from demesh.mesh.sync import VERSION, Message, Refused, Want, WantKept, WantProof, fields_of, read_writes, refusal

_Sent = TypeVar("_Sent", Entry, Entry | Envelope)


class Server:
    """Answers one puller. `states` are the heads when the session began."""

    def __init__(self, mesh_id: bytes, states: Iterable[LogState], writes: bytes = b"", up_ms: int = 0) -> None:
        """`writes` is the log that this node is writing; `up_ms` is its up time now."""
        self.puller_writes = b""
        """The log that the puller is writing, once it has greeted."""
        self._writes = writes
        self._up_ms = up_ms
        self._mesh_id = mesh_id
        self._states = {state.log: state for state in states}
        self.accepted = False
        """Whether the puller's greeting was of this mesh and of a known version."""

    def greet(self, data: bytes) -> list[bytes]:
        """The answer to the puller's first message. Raises SyncError if there is nothing to add to it: then close."""
        _, fields = fields_of(data, Message.HELLO)
        versions = fields.uints("versions", 16, 255)
        mesh_id = fields.octets("mesh id", 16)
        digest = fields.octets("digest", 32)
        if VERSION not in versions:
            return [refusal(Refused.VERSION, f"this node speaks version {VERSION} of sync")]
        if mesh_id != self._mesh_id:
            said = f"this node belongs to mesh {self._mesh_id.hex()[:8]}, not to {mesh_id.hex()[:8]}"
            return [refusal(Refused.MESH, said)]
        self.accepted = True
        self.puller_writes = read_writes(fields)
        own_digest = vector_digest(self._states.values())
        hello = encode([Message.HELLO, VERSION, self._mesh_id, own_digest, self._writes, self._up_ms])
        if digest == own_digest:
            return [hello]
        return [hello, encode([Message.VECTOR, values(vector(self._states.values()))])]

    def wanted(self, data: bytes) -> Want | WantKept | WantProof:
        """What a later message of the puller asks for. Raises SyncError for anything else."""
        kind, fields = fields_of(data, Message.PULL, Message.KEPT, Message.EVIDENCE)
        log = fields.octets("log id", 16)
        match kind:
            case Message.EVIDENCE:
                want = WantProof(log)
            case Message.KEPT:
                want = WantKept(log, fields.uint("below", limits.SEQ_MAX))
            case _:
                want = Want(log, fields.uint("first", limits.SEQ_MAX), fields.uint("last", limits.SEQ_MAX))
        backwards = isinstance(want, Want) and want.first > want.last
        if not self.accepted or log not in self._states or backwards:
            raise SyncError("the peer asked for what was not offered", Refused.MALFORMED)
        return want

    def proven(self, log: bytes) -> bytes:
        """The hash of the entry that the proof of a fork vouches for; empty without one."""
        fork = self._states[log].fork
        return fork.prev if fork else b""

    @staticmethod
    def page(want: Want | WantKept, entries: Sequence[Entry | Envelope], proven: bytes = b"") -> bytes:
        """`entries` as the answer to `want`: what stands in a row is cut after the last one that is vouched for."""
        sent = lean(entries, proven) if isinstance(want, Want) else entries
        return encode([Message.PAGE, want.log, [[entry.body, entry.signature] for entry in sent]])

    @staticmethod
    def proof(want: WantProof, proof: Proof | None) -> bytes:
        return encode([Message.PROOF, want.log, proof.value() if proof else []])


def lean(entries: Sequence[_Sent], proven: bytes = b"") -> list[_Sent]:
    """`entries` up to the last one that is signed, or whose hash is `proven`. What is before it need not carry a signature.

    Only results are stripped: whatever is kept when they are forgotten must be provable by itself.
    """
    last = max((index for index, entry in enumerate(entries) if entry.signature or entry.hash == proven), default=-1)
    kept = list(entries[: last + 1])
    return [
        entry._replace(signature=b"") if entry.signature and index < last and entry.kind == Kind.RESULTS else entry
        for index, entry in enumerate(kept)
    ]
