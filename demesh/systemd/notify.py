"""The service manager's side door: one datagram of `NAME=value` lines to the socket that it names in NOTIFY_SOCKET
(sd_notify(3)).

Guarantees: what a message cannot be told for is a line in the diagnostic log, never an end; nothing waits. Once taken from the
environment, no program that this process starts can speak for it, or takes its watchdog for its own.

Not there: sockets of virtual machines (`vsock:`).
"""

import logging
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notifying:
    """`address` is that of a Unix socket, a path or abstract (`@name`); None: nobody wants to know. `watchdog_us`: so often, in
    microseconds, it wants to hear that all is well; None: it does not."""

    address: str | None = None
    watchdog_us: int | None = None

    def tell(self, *lines: str) -> bool:
        """Send one message. False if it could not be sent."""
        if self.address is None:
            return True
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.setblocking(False)
                sending.sendto("\n".join(lines).encode(), name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            log.warning("The service manager could not be told %s: %s.", lines[0].partition("=")[0], reason)
            return False
        return True


def take_notifying(environment: MutableMapping[str, str], pid: int) -> Notifying:
    """What the environment says of the service manager of the process `pid`. It says it no more afterwards."""
    address = environment.pop("NOTIFY_SOCKET", None)
    watchdog, watched = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if address is None:
        return Notifying()
    if not address.startswith(("/", "@")) or len(address) < 2:
        log.warning("The service manager's socket is none that a node can use: only a path or an abstract name is.")
        return Notifying()
    wanted = watchdog.isdecimal() and int(watchdog) > 0 and watched in ("", str(pid))
    return Notifying(address, int(watchdog) if wanted else None)
