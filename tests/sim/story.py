"""What happens in a run, line by line in virtual time, and the digest by which two runs are compared."""

import hashlib
import logging
from dataclasses import dataclass

import trio

from tests.sim.virtual import PROCESS


@dataclass(frozen=True, slots=True)
class Line:
    at: float
    who: str
    what: str

    def __str__(self) -> str:
        return f"{int(self.at) // 60:3}:{self.at % 60:06.3f}  {self.who:<5} {self.what}"


class Story:
    def __init__(self, place: str) -> None:
        """`place` is the name of the directory of this run, which differs each time and is left out."""
        self.lines: list[Line] = []
        self._place = place
        self._digest = hashlib.blake2b(digest_size=16)

    def tell(self, who: str, what: str) -> None:
        line = Line(trio.current_time(), who, what.replace(self._place, "…"))
        self.lines.append(line)
        self.note(str(line))

    def note(self, what: str) -> None:
        """Something too small to tell, which two equal runs have in common all the same."""
        self._digest.update(f"{trio.current_time():.6f} {what}\n".encode())

    def digest(self) -> str:
        return self._digest.hexdigest()


class NodeLines(logging.Handler):
    """What nodes say in their diagnostic logs, as lines of the story."""

    def __init__(self, story: Story) -> None:
        super().__init__(logging.INFO)
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        name = getattr(process, "name", "")
        if process is None or getattr(process, "dead", False):
            return
        if record.levelno >= logging.WARNING:
            self._story.tell(name, f"says: {record.getMessage()}")
        else:
            self._story.note(f"{name} {record.getMessage().replace(self._story._place, '…')}")
