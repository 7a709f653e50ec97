"""What signals do to a process that is about to become a node; `demesh.cli.signals` takes over.

To be called before anything large is imported, which takes a second.

Guarantees: SIGHUP does not end it, and SIGTERM ends it, also as the first process of a container.
"""

import os
import signal


def before_there_is_a_node() -> None:
    signal.signal(signal.SIGHUP, _not_yet)  # SIG_IGN would be inherited by the commands of checks
    if os.getpid() == 1:  # to which the kernel gives nothing that it does not handle
        signal.signal(signal.SIGTERM, _end)


def _not_yet(*_: object) -> None:
    """The configuration is about to be read, or is watched as from when it was."""


def _end(*_: object) -> None:
    os._exit(0)
