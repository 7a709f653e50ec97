"""What this node does for a member that asks for it over a stream of its own (`demesh.asking`, `demesh.relaying`).

Guarantees: who is no member, whom `mesh.allow_requests` turns away, or who asks more often or for more at once than `Turnstile`
allows, is told so in a sentence; each refusal is counted by kind and reason. Whatever the peer does, or says, nothing is raised,
and the stream is closed.
"""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress

import trio

from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import EntryError, NetworkError, SyncError
from demesh.identity import peer_id
from demesh.mesh.ask import Refused, Turnstile
from demesh.mesh.network import Stream
from demesh.mesh.session import Frames
from demesh.metrics import REFUSED
from demesh.view.fold import View

log = logging.getLogger(__name__)


class Favours:
    """Those of one `kind`, a word for metrics and the diagnostic log; `refusal` puts a refusal into a message of its protocol."""

    def __init__(
        self,
        kind: str,
        refusal: Callable[[Refused, str], bytes],
        frame_bytes_max: int,
        view: View,
        clock: Clock,
        turnstile: Turnstile,
        settings: Callable[[], Settings],
    ) -> None:
        self._kind = kind
        self._refusal = refusal
        self._frame_bytes_max = frame_bytes_max
        self._view = view
        self._clock = clock
        self._turnstile = turnstile
        self._settings = settings

    async def serve(self, stream: Stream, do: Callable[[bytes, Frames], Awaitable[None]]) -> None:
        """Do what the peer asks for: `do` gets its key, and the frames that go to and fro. It may raise trio.TooSlowError,
        EntryError and SyncError for what the peer does, and NetworkError.
        """
        frames = Frames(stream, self._frame_bytes_max)
        try:
            await do(stream.peer, frames)
        except trio.TooSlowError:
            REFUSED.labels(self._kind, "slow").inc()
        except (EntryError, SyncError) as error:
            log.info("What %s asks (%s) was not understood: %s", peer_id(stream.peer), self._kind, error)
            no = self.refused("malformed", Refused.MALFORMED, "this node does not understand that message")
            with suppress(NetworkError):
                await frames.send(no)
        except NetworkError as error:
            log.info("What %s asked for (%s) broke off: %s", peer_id(stream.peer), self._kind, error)
        finally:
            await stream.close()

    @contextmanager
    def place(self, peer: bytes) -> Generator[bytes | None]:
        """A place for what a member asks for, as long as it lasts; or the refusal to send."""
        if no := self.objection(peer):
            yield no
        elif bound := self._turnstile.enter(peer, self._clock.monotonic_ms()):
            yield self.refused(bound, Refused.RATE, "this node was asked often enough for now; try again in a minute")
        else:
            try:
                yield None
            finally:
                self._turnstile.leave(peer)

    def objection(self, peer: bytes) -> bytes | None:
        """The refusal for whom this node does nothing now."""
        if self._settings().allow_requests == "none":
            sentence = "this node answers no requests (mesh.allow_requests = false)"
            return self.refused("policy", Refused.POLICY, sentence)
        if self._view.member(peer) is None:
            sentence = "this node does not know who asks yet; try again in a moment"
            return self.refused("stranger", Refused.POLICY, sentence)
        return None

    def refused(self, reason: str, code: Refused, sentence: str) -> bytes:
        """The message of a refusal, which is counted."""
        REFUSED.labels(self._kind, reason).inc()
        return self._refusal(code, sentence)
