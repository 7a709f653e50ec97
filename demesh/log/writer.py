"""Makes the entries of the own log: numbered, linked, signed. Pure; the caller stores each before it makes it known."""

from nacl.signing import SigningKey

from demesh.log.codec import Value
from demesh.log.entry import NO_HASH, Entry, Kind, decode_body, encode_body, sign
from demesh.log.head import Head
from demesh.log.hello import is_hello_of


class Writer:
    """The only place where this node signs entries.

    Each call of `write` uses up a sequence number: an entry that was made must be stored, or the process must end.
    """

    def __init__(self, key: SigningKey, mesh_id: bytes, boot8: bytes, log: bytes, head: Head | None) -> None:
        self._key = key
        self._mesh_id = mesh_id
        self._boot8 = boot8
        self._log = log
        self._head = head

    @property
    def public_key(self) -> bytes:
        return bytes(self._key.verify_key)

    @property
    def log(self) -> bytes:
        return self._log

    @property
    def head(self) -> Head | None:
        return self._head

    @property
    def next_seq(self) -> int:
        return self._head.seq + 1 if self._head else 0

    def write(self, kind: Kind, payload: Value, *, wall_ms: int, up_ms: int, next_ms: int) -> Entry:
        """The next entry. Raises EntryError("too_large") if the payload does not fit; then no number is used up.

        Raises RuntimeError if it would begin the log with anything but the log's hello: no peer could ever take that up.
        """
        prev = self._head.hash if self._head else NO_HASH
        body = encode_body(self._log, self.next_seq, prev, wall_ms, up_ms, self._boot8, next_ms, kind, payload)
        entry = decode_body(body, sign(self._key, self._mesh_id, body))
        if self._head is None and not is_hello_of(self.public_key, entry):
            raise RuntimeError(
                f"Log {self._log.hex()[:8]} must begin with its hello, not with an entry of kind {int(kind)}."
            )
        self._head = entry.head
        return entry
