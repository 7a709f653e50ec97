"""TLS over a connection that a probe has just made: how long the handshake takes, and when the first certificate expires.

The expiry is known also if the certificate is refused.
"""

import ssl

import trio

from demesh.probes.dialling import Progress
from demesh.probes.tls import TlsStream, earliest_expiry_s


async def secure(connection: trio.SocketStream, context: ssl.SSLContext, name: str, progress: Progress) -> TlsStream:
    """TLS with a server that must show a certificate for `name`. The expiry is told also if that is refused. Raises Failed."""
    stream = TlsStream(connection, context, name)
    try:
        with progress.phase("tls", "still in the TLS handshake"):
            await stream.shake_hands()
    finally:
        progress.certificate_expires_s = earliest_expiry_s(stream.certificates())
    return stream
