"""A byte stream enciphered with the swarm key, as
https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md says.

Each side sends 24 random bytes, then its data XORed with XSalsa20(key, nonce). There is no tag and no length: a peer
with another key is seen only by the nonsense it sends. Whoever must know (see `dial`) compares the first bytes with
what is due: multistream's greeting, which is fixed. So does a stream that may be of one of several keys, while the swarm
key changes: it sends its nonce, which depends on no key, then waits for the greeting, and knows.

Guaranteed: a nonce may arrive in pieces; a cancelled `read` loses nothing; a `write` is done whole or the stream is
closed, because ciphers on top of this one (Noise) have moved on by the time they write, and half a message would leave
both ends out of step for good. So a writer may be held up past its deadline, for `CANCELLED_WRITE_SECONDS_MAX`, and one
that is cancelled without a deadline for `WRITE_SECONDS_MAX`; then the stream is closed.
"""

import os
import struct
from collections.abc import Sequence

import trio
from Crypto.Cipher import Salsa20
from Crypto.Cipher.Salsa20 import Salsa20Cipher
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID
from libp2p.utils import encode_delim

from demesh import limits
from demesh.metrics import SWARM_BYTES

NONCE_BYTES = 24
GREETING = encode_delim(MULTISELECT_PROTOCOL_ID.encode())
READ_BYTES_MAX = 65_536
WRITE_SECONDS_MAX = limits.TCP_USER_TIMEOUT_MS / 1000
_SENT, _RECEIVED = SWARM_BYTES.labels("sent"), SWARM_BYTES.labels("received")

_WORD = 0xFFFF_FFFF
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
# The quarter rounds of a Salsa20 double round: columns, then rows (https://cr.yp.to/snuffle/spec.pdf, sections 4 to 6).
_QUARTERS = (
    *((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)),
    *((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)),
)


def hsalsa20(key: bytes, nonce: bytes) -> bytes:
    """The 32-byte subkey of a 32-byte key and 16 bytes of nonce (https://cr.yp.to/snuffle/xsalsa-20110204.pdf)."""
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", nonce)
    x = [_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3]]
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            x[b] ^= _rotated(x[a] + x[d], 7)
            x[c] ^= _rotated(x[b] + x[a], 9)
            x[d] ^= _rotated(x[c] + x[b], 13)
            x[a] ^= _rotated(x[d] + x[c], 18)
    return struct.pack("<8I", *(x[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))


def xsalsa20(key: bytes, nonce: bytes) -> Salsa20Cipher:
    """The XSalsa20 stream of a 32-byte key and a 24-byte nonce, from its beginning."""
    return Salsa20.new(key=hsalsa20(key, nonce[:16]), nonce=nonce[16:])


class PskStream(ReadWriteCloser):
    """`inner`, enciphered. `remote` is the far end's address and port; `closed` is set when this side gives the stream
    up. With `others` the far end, which then speaks first, may have any of these keys instead of `psk`.
    """

    def __init__(
        self, inner: ReadWriteCloser, psk: bytes, remote: tuple[str, int] | None, others: Sequence[bytes] = ()
    ) -> None:
        self.closed = trio.Event()
        self.received_bytes = 0
        self._inner = inner
        self._psk = psk
        self._others = tuple(others)
        self._remote = remote
        self._writing = trio.Lock()
        self._outgoing: Salsa20Cipher | None = None
        self._own_nonce = b""
        self._reading = trio.Lock()
        self._early = b""
        self._incoming: Salsa20Cipher | None = None
        self._plain = memoryview(b"")

    def may_be_of(self, psks: Sequence[bytes]) -> bool:
        """Whether nothing is known against the far end having one of these keys."""
        return self._psk in psks and all(other in psks for other in self._others)

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises ConnectionClosedError when the far end is gone or takes nothing for too long."""
        if self._others:
            await self._settle()
        now = trio.current_time()
        deadline = max(now, trio.current_effective_deadline()) + limits.CANCELLED_WRITE_SECONDS_MAX
        with trio.CancelScope(shield=True, deadline=min(deadline, now + WRITE_SECONDS_MAX)) as patience:
            # The lock comes before the cipher: bytes must reach the socket in the order in which they were enciphered.
            async with self._writing:
                nonce = b""
                if self._outgoing is None:
                    nonce = b"" if self._own_nonce else os.urandom(NONCE_BYTES)
                    self._outgoing = xsalsa20(self._psk, self._own_nonce or nonce)
                _SENT.inc(len(nonce) + len(data))
                await self._inner.write(nonce + self._outgoing.encrypt(data))
        if patience.cancelled_caught:
            await self.close()
            raise ConnectionClosedError("The peer took no data for too long.", transport="tcp")

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes (whatever has arrived, without `n`); `b""` at the end.

        The socket is read in pieces of READ_BYTES_MAX whatever `n` is, since a length that a stranger sent may be any
        number.
        """
        if n == 0:
            return b""
        async with self._reading:
            if not self._plain:
                self._plain = memoryview(await self._deciphered())
            taken, self._plain = bytes(self._plain[:n]), self._plain[len(self._plain) if n is None else n :]
            return taken

    async def close(self) -> None:
        self.closed.set()
        await self._inner.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._remote

    async def _settle(self) -> None:
        """Learn which of the keys the far end has."""
        async with self._reading:
            if not self._own_nonce:
                self._own_nonce = os.urandom(NONCE_BYTES)  # the far end may wait for it before it says more
                await self._inner.write(self._own_nonce)
            if self._incoming is None:
                self._plain = memoryview(await self._deciphered())

    async def _deciphered(self) -> bytes:
        while self._incoming is None:
            needed = NONCE_BYTES + (len(GREETING) if self._others else 0)
            piece = await self._inner.read(needed - len(self._early))
            if not piece:
                raise ConnectionClosedError("The peer closed the connection before its nonce.", transport="tcp")
            self._count(piece)
            self._early += piece
            if len(self._early) == needed:
                nonce, first = self._early[:NONCE_BYTES], self._early[NONCE_BYTES:]
                for psk in (self._psk, *self._others) if first else ():
                    if xsalsa20(psk, nonce).decrypt(first) == GREETING:
                        self._psk = psk
                        break
                self._others = ()
                self._incoming = xsalsa20(self._psk, nonce)
                if first:
                    return self._incoming.decrypt(first)
        piece = await self._inner.read(READ_BYTES_MAX)
        self._count(piece)
        return self._incoming.decrypt(piece)

    def _count(self, piece: bytes) -> None:
        self.received_bytes += len(piece)
        _RECEIVED.inc(len(piece))


def _rotated(word: int, bits: int) -> int:
    word &= _WORD
    return ((word << bits) | (word >> (32 - bits))) & _WORD
