"""One hierarchy of errors. Every message is a sentence for the person (or the peer's operator) who can act on it:
what was wrong, where, and what is allowed.

Errors come out of nurseries in groups. Nothing is raised within `except*`: Python 3.11.2, which Debian 12 has, puts a group
around it (3.11.7 does not). Collect the `leaves` there, and raise after it.
"""

import errno
from typing import TypeVar, cast

_E = TypeVar("_E", bound=BaseException)


class DemeshError(Exception):
    """Base of all errors demesh raises on purpose. The CLI prints the message and exits with `exit_code`."""

    exit_code = 1


class UsageError(DemeshError):
    """The person asked for something that cannot be: a bad option, file or setting."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration was refused; `problems` holds every reason, each with its file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NodeNotRunning(DemeshError):
    """No node answers where one was looked for."""

    exit_code = 3


class EntryError(DemeshError):
    """Bytes are not an acceptable entry, page or message. `reason` is a short token, the label of the refusal's counter."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(DemeshError):
    """The store cannot be opened, read or written; nothing is retried (see docs/architecture.md, Durability)."""


class HistoryError(StoreError):
    """`view.db` cannot be used. It is derived from the logs, so it is made anew instead of ending the node."""


class StoreDamaged(StoreError):
    """The store's file is not what was written to it. `demesh log repair` saves what is intact."""


class NetworkError(DemeshError):
    """A peer could not be reached, or a stream to it broke."""


class DialError(NetworkError):
    """An address could not be dialled. `wrong_swarm_key`: something answered there, but the swarm keys seem to differ.
    `ourselves`: this very node did.
    """

    def __init__(self, message: str, *, wrong_swarm_key: bool = False, ourselves: bool = False) -> None:
        super().__init__(message)
        self.wrong_swarm_key = wrong_swarm_key
        self.ourselves = ourselves


class SyncError(DemeshError):
    """A sync session ended early. `code` is the wire code of docs/protocol.md, or 0 when the peer just broke off."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class SyncDeclined(SyncError):
    """The peer said no, in a sentence of its own. Every other SyncError is what this node makes of what a peer said."""


_MAY_PASS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOLCK,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What keeps a file from being written now and may not do so later."""


def of_file(error: OSError, message: str) -> DemeshError:
    """A UsageError with that message, but not for what may pass, as a full disk may: nobody starts a node again after that."""
    return DemeshError(message) if error.errno in _MAY_PASS else UsageError(message)


def leaves(error: _E | BaseExceptionGroup[_E]) -> list[_E]:
    """The errors in a group, however deep; of an error that is no group itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in cast(BaseExceptionGroup[_E], error).exceptions for leaf in leaves(each)]
