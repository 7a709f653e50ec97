"""One sync session over a stream: frames in and out, around the decisions of `demesh.mesh.sync`."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from demesh import limits
from demesh.errors import NetworkError, SyncError
from demesh.log.entry import Entry, Envelope
from demesh.log.evidence import Proof
from demesh.mesh.network import Stream
from demesh.mesh.preview import Preview
from demesh.mesh.sync import LENGTH_BYTES, Adoption, Refused, Want, WantKept, WantProof, refusal
from demesh.mesh.sync_puller import Answer, Puller
from demesh.mesh.sync_server import Server

ReadPage = Callable[[Want | WantKept, int], Awaitable[Sequence[Entry | Envelope]]]
"""(want, bytes_max) -> entries in order from `want.first` on, or what is kept backwards from `want.below`; fewer than asked
where the page is full."""

Adopt = Callable[[Adoption], Awaitable[bool]]
"""Whether a log is taken up from where the peer still has it."""

TakePage = Callable[[Sequence[Entry], int], Awaitable[bool]]
"""(entries, the one among them that the peer has only just written, or -1) -> false if the rest of that log is not worth asking
for."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a server reads of its own store."""

    page: ReadPage
    proof: Callable[[bytes], Awaitable[Proof | None]]
    """The proof against a log."""


@dataclass(frozen=True, slots=True)
class Taking:
    """What a puller does with what it is given."""

    adopt: Adopt
    take: TakePage
    prove: Callable[[Proof], Awaitable[None]]
    hash_at: Callable[[bytes, int], Awaitable[bytes | None]]
    """(log, place) -> the hash of the entry that is held there, if it is."""
    parted: Callable[[Sequence[Entry]], Awaitable[None]]
    """Called with the peer's entries from where its history of a log is another one than ours."""
    preview: Callable[[Preview, int], Awaitable[None]]
    """(the end of a log that comes later, the entry of it that the peer has only just written, or -1)."""


Greeted = Callable[[bytes], None]
"""Called with the log that the peer is writing, empty if none, once it has greeted."""


class Frames:
    """Length-prefixed messages on a byte stream, of at most `bytes_max` each.

    A peer that lets us wait for `idle_seconds` has broken off.
    """

    def __init__(
        self,
        stream: Stream,
        bytes_max: int = limits.SYNC_FRAME_BYTES_MAX,
        idle_seconds: float = limits.SYNC_IDLE_SECONDS_MAX,
    ) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._idle_seconds = idle_seconds
        self._buffer = bytearray()

    async def send(self, message: bytes) -> None:
        framed = len(message).to_bytes(LENGTH_BYTES, "big") + message
        for start in range(0, len(framed), limits.SYNC_PIECE_BYTES_MAX):
            with _patience(self._idle_seconds):
                await self._stream.send(framed[start : start + limits.SYNC_PIECE_BYTES_MAX])

    async def receive(self) -> bytes | None:
        """The next message; None if the peer has closed between two. Raises NetworkError, SyncError."""
        head = await self._exactly(LENGTH_BYTES)
        if head is None:
            return None
        length = int.from_bytes(head, "big")
        if length > self._bytes_max:
            raise SyncError(f"the peer announced a message of {length} bytes", Refused.MALFORMED)
        body = await self._exactly(length)
        if body is None:
            raise NetworkError("the peer closed the stream inside a message")
        return body

    async def expect(self) -> bytes:
        """Like `receive`, where the end of the stream is an error."""
        message = await self.receive()
        if message is None:
            raise NetworkError("the peer closed the stream before its answer")
        return message

    async def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            with _patience(self._idle_seconds):
                piece = await self._stream.receive()
            if not piece:
                if self._buffer:
                    raise NetworkError("the peer closed the stream inside a message")
                return None
            self._buffer += piece
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found


async def serve(stream: Stream, server: Server, stored: Stored, greeted: Greeted) -> bool:
    """Answer a puller until it closes; false if it was refused by its greeting.

    Raises NetworkError, SyncError, EntryError when the session ends badly.
    """
    frames = Frames(stream)
    answers = server.greet(await frames.expect())
    greeted(server.puller_writes)
    for answer in answers:
        await frames.send(answer)
    if not server.accepted:
        return False
    while (message := await frames.receive()) is not None:
        want = server.wanted(message)
        if isinstance(want, WantProof):
            await frames.send(server.proof(want, await stored.proof(want.log)))
        else:
            entries = await stored.page(want, limits.SYNC_PAGE_BYTES_MAX)
            await frames.send(server.page(want, entries, server.proven(want.log)))
    return True


async def refuse(stream: Stream, code: Refused, sentence: str) -> None:
    """Answer a puller with a refusal. Raises NetworkError."""
    await Frames(stream).send(refusal(code, sentence))


async def pull(stream: Stream, puller: Puller, taking: Taking, greeted: Greeted = lambda writes: None) -> None:
    """Get from the peer what the puller lacks, page by page. Raises NetworkError, SyncError, EntryError."""
    frames = Frames(stream)
    await frames.send(puller.hello())
    is_different = puller.greeted(await frames.expect())
    greeted(puller.server_writes)
    if is_different:
        puller.offered(await frames.expect())
        await _pull_pages(frames, puller, taking)
    for search in puller.searches():
        while (want := search.want) is not None:
            await frames.send(puller.ask(want))
            theirs = puller.shown(await frames.expect())
            search.answer(theirs, await taking.hash_at(want.log, want.first))
        if segment := search.their_segment():
            await taking.parted(segment)


async def _pull_pages(frames: Frames, puller: Puller, taking: Taking) -> None:
    """Ask for what was offered, and take it. Of a log of which a page was taken the next one is read and sent meanwhile."""
    is_asked, going_well = False, b""
    while True:
        if not is_asked:
            if (message := puller.next_pull()) is None:
                return
            await frames.send(message)
        answer = puller.answer(await frames.expect())
        is_asked = False
        if answer.entries and answer.entries[0].log == going_well and (message := puller.next_pull()) is not None:
            await frames.send(message)
            is_asked = True
        going_well = await _take(answer, puller, taking)


async def _take(answer: Answer, puller: Puller, taking: Taking) -> bytes:
    """The log of which a page was taken; empty if none was."""
    if answer.proof:
        await taking.prove(answer.proof)
    if answer.preview:
        await taking.preview(answer.preview, puller.fresh_seq(answer.preview.log))
    if answer.adoption and not await taking.adopt(answer.adoption):
        puller.skip(answer.adoption.log)
    elif answer.entries:
        log = answer.entries[0].log
        if await taking.take(answer.entries, puller.fresh_seq(log)):
            return log
        puller.skip(log)
    return b""


@contextmanager
def _patience(seconds: float) -> Generator[None]:
    with trio.move_on_after(seconds) as waiting:
        yield
    if waiting.cancelled_caught:
        raise NetworkError(f"the peer did nothing for {seconds:g} s")
