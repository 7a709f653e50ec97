"""Where a vantage finds a target, look by look, and which changes of that are worth telling. Pure.

    look at the address of before                                          nothing
    another one, that was seen in the last ADDRESS_RECENT_LOOKS            nothing: a name that leads to several in turn
    another one                                                            news: where it leads now, and where it led before
    the same after ADDRESS_NEWS_MAX news in ADDRESS_NEWS_LOOKS             once: it changes with almost every look
    the same while no ADDRESS_NEWS_LOOKS have gone by without any          nothing: a pool, such as pool.ntp.org

So a name that moves is told, one that goes back and forth is told once, and a pool costs ADDRESS_NEWS_MAX + 1 steps and no more.
A name that moves back after more than ADDRESS_RECENT_LOOKS is told again. Not told: at which address a pool settles in the end.
"""

from collections import deque
from dataclasses import dataclass

from demesh.limits import ADDRESS_NEWS_LOOKS, ADDRESS_NEWS_MAX, ADDRESS_RECENT_LOOKS


@dataclass(frozen=True, slots=True)
class Change:
    """`rotates`: it has changed so often that it is told of no more."""

    address: str
    before: str
    rotates: bool = False


class Whereabouts:
    """Of one target as one vantage finds it. An address is what a result tells: of several in one text, all of them."""

    def __init__(self) -> None:
        self._looks = 0
        self._now: str | None = None
        self._seen: dict[str, int] = {}
        """When each address was found last, in looks; the newest last."""
        self._news: deque[int] = deque(maxlen=ADDRESS_NEWS_MAX)
        self._rotates = False

    def look(self, address: str | None, *, tells: bool = True) -> Change | None:
        """What is to be told of the next result. One that tells no address (None) says that nothing has changed.

        Not `tells`: it only prepares for those that come.
        """
        self._looks += 1
        before, self._now = self._now, address or self._now
        if self._now is None:
            return None
        last_look = self._seen.pop(self._now, None)
        self._seen[self._now] = self._looks
        if self._looks - next(iter(self._seen.values())) > ADDRESS_RECENT_LOOKS:
            del self._seen[next(iter(self._seen))]
        if not tells or before is None or before == self._now:
            return None
        if last_look is not None and self._looks - last_look <= ADDRESS_RECENT_LOOKS:
            return None
        return self._judge(Change(self._now, before))

    def _judge(self, change: Change) -> Change | None:
        """Of news: whether it is told, and how."""
        newest, oldest = (self._news[-1], self._news[0]) if self._news else (0, 0)
        often = len(self._news) == ADDRESS_NEWS_MAX and self._looks - oldest < ADDRESS_NEWS_LOOKS
        rotated = self._rotates and self._looks - newest < ADDRESS_NEWS_LOOKS
        self._news.append(self._looks)
        self._rotates = rotated or often
        if rotated:
            return None
        return Change(change.address, change.before, rotates=True) if often else change
