"""libp2p's log, kept off the terminal.

The library logs ordinary events (a refused connection, a peer without gossip) as errors, some over many lines, partly
to the root logger. None of that is news to the person who runs a node; what is, this package says itself. So whatever
libp2p logs at WARNING or above becomes one line at DEBUG of the logger `demesh.libp2p`. If a service of the library
dies, `Libp2pNetwork.run` raises, with the cause.

Not touched: `LIBP2P_DEBUG`, which makes the library log to stderr and a file of its own.
"""

import logging

LINE_CHARS_MAX = 300

_ours = logging.getLogger("demesh.libp2p")


class _Forward(logging.Handler):
    """Hands a record on as one line at DEBUG."""

    def emit(self, record: logging.LogRecord) -> None:
        if _ours.isEnabledFor(logging.DEBUG):
            line = " ".join(record.getMessage().split())
            _ours.debug("%s: %s", record.name, line[:LINE_CHARS_MAX])


class _NotOfLibp2p(logging.Filter):
    """Takes the library's records out of the root logger; a logger's filter sees only what was logged to it directly."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "/libp2p/network/" not in record.pathname:
            return True
        if record.levelno >= logging.WARNING:
            _forward.handle(record)
        return False


_forward = _Forward(logging.WARNING)
_not_of_libp2p = _NotOfLibp2p()


def quieten() -> None:
    """Tame libp2p's logging. To be called after its import, which resets it; harmless to repeat."""
    libp2p = logging.getLogger("libp2p")
    if _forward not in libp2p.handlers:
        libp2p.addHandler(_forward)
    root = logging.getLogger()
    if _not_of_libp2p not in root.filters:
        root.addFilter(_not_of_libp2p)
    if not root.handlers:
        # The library calls logging.debug(), which sets up the root logger for stderr if it finds it without a handler.
        root.addHandler(logging.NullHandler())
