"""Why a probe got no further, in our own words: the sentences that all probes share.

What goes in are codes: an errno, OpenSSL's verdict on a certificate. The texts of libraries and targets are never passed on.
"""

import errno
from dataclasses import dataclass

from demesh.errors import NetworkError
from demesh.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Failure:
    """Whose fault it was, and a phrase about it without a full stop."""

    outcome: Outcome
    sentence: str


class Failed(NetworkError):
    """A probe got no further. `outcome` says whose fault that is; the message is a phrase without a full stop."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


CONNECT_FAILURES = {
    errno.ECONNREFUSED: Failure(Outcome.FAIL, "connection refused"),
    errno.ECONNRESET: Failure(Outcome.FAIL, "connection reset"),
    errno.EHOSTUNREACH: Failure(Outcome.FAIL, "host unreachable"),
    errno.ETIMEDOUT: Failure(Outcome.TIMEOUT, "no answer to the connection attempt"),
    errno.ENETUNREACH: Failure(Outcome.ERROR, "no network: this node has no route to the address"),
    errno.ENETDOWN: Failure(Outcome.ERROR, "no network: this node's network is down"),
    errno.EAFNOSUPPORT: Failure(Outcome.ERROR, "no network: this node does not speak the address's family"),
    errno.EADDRNOTAVAIL: Failure(Outcome.ERROR, "this node has no local address or port left for the connection"),
    errno.EACCES: Failure(Outcome.ERROR, "this node is not allowed to connect to the address"),
    errno.EPERM: Failure(Outcome.ERROR, "this node is not allowed to connect to the address"),
    errno.EMFILE: Failure(Outcome.ERROR, "this node is out of file descriptors"),
    errno.ENFILE: Failure(Outcome.ERROR, "this node is out of file descriptors"),
    errno.ENOBUFS: Failure(Outcome.ERROR, "this node is out of memory for sockets"),
    errno.ENOMEM: Failure(Outcome.ERROR, "this node is out of memory for sockets"),
}
"""By errno of a connection attempt."""

CERTIFICATE_VERDICTS = {
    2: "the certificate's issuer is not trusted",
    9: "the certificate is not yet valid",
    10: "the certificate has expired",
    18: "the certificate is self-signed and not trusted",
    19: "the certificate chain ends in an authority that is not trusted",
    20: "the certificate's issuer is not trusted",
    21: "the certificate's issuer is not trusted",
    23: "the certificate has been revoked",
    26: "the certificate is not meant for a server",
    62: "the certificate is for another host",
    64: "the certificate is for another address",
    66: "the certificate's key is too short",
    68: "the certificate is signed in a way that is too weak",
}
"""By X509_V_ERR_*, see openssl-verify(1)."""


def connect_failure(error: OSError) -> Failed:
    """Why a connection attempt gave none."""
    known = CONNECT_FAILURES.get(error.errno or 0)
    if known is None:
        return Failed(Outcome.FAIL, f"no connection (errno {error.errno})" if error.errno else "no connection")
    return Failed(known.outcome, known.sentence)


def broken_connection(error: BaseException, otherwise: str) -> Failed:
    """Why a connection broke: `error` is what the stream raised, its cause the system's."""
    cause = error.__cause__
    reset = isinstance(cause, OSError) and cause.errno in (errno.ECONNRESET, errno.EPIPE)
    return Failed(Outcome.FAIL, "connection reset" if reset else otherwise)
