"""What libcurl's codes mean, in our own words.

libcurl's messages can repeat what must not be shown: user info, query strings, the targets of redirects. So they are
never passed on. A code, an errno and OpenSSL's verdict on the certificate are all that goes in; each has a sentence.
"""

import errno
import socket

import pycurl

from demesh.failure import CERTIFICATE_VERDICTS, CONNECT_FAILURES, Failure
from demesh.outcome import Outcome

ENGINE_TROUBLE = -1  # our own: the engine ended, or could not watch the socket; libcurl's codes are positive

# Codes that libcurl has and pycurl has no name for.
_E_HTTP2_STREAM = 92
_E_TOO_LARGE = 100


_CODES = {
    pycurl.E_UNSUPPORTED_PROTOCOL: Failure(Outcome.FAIL, "the answer is not HTTP"),
    pycurl.E_URL_MALFORMAT: Failure(Outcome.ERROR, "the URL cannot be read"),
    pycurl.E_COULDNT_RESOLVE_HOST: Failure(Outcome.FAIL, "the host name could not be resolved"),
    pycurl.E_OUT_OF_MEMORY: Failure(Outcome.ERROR, "this node is out of memory"),
    pycurl.E_OPERATION_TIMEDOUT: Failure(Outcome.TIMEOUT, "no answer in time"),
    pycurl.E_SSL_CONNECT_ERROR: Failure(Outcome.FAIL, "the TLS handshake failed"),
    pycurl.E_SSL_CIPHER: Failure(Outcome.FAIL, "no TLS cipher in common"),
    pycurl.E_SSL_CACERT_BADFILE: Failure(Outcome.ERROR, "the file of CA certificates cannot be read"),
    pycurl.E_TOO_MANY_REDIRECTS: Failure(Outcome.MISMATCH, "too many redirects"),
    pycurl.E_GOT_NOTHING: Failure(Outcome.FAIL, "the connection was closed without an answer"),
    pycurl.E_SEND_ERROR: Failure(Outcome.FAIL, "the connection broke while the request was sent"),
    pycurl.E_RECV_ERROR: Failure(Outcome.FAIL, "the connection broke before the answer was complete"),
    pycurl.E_PARTIAL_FILE: Failure(Outcome.FAIL, "the connection was closed before the answer was complete"),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Failure(Outcome.FAIL, "the answer is not HTTP"),
    pycurl.E_BAD_CONTENT_ENCODING: Failure(Outcome.FAIL, "the answer's encoding is broken"),
    pycurl.E_HTTP2: Failure(Outcome.FAIL, "the server broke the rules of HTTP/2"),
    _E_HTTP2_STREAM: Failure(Outcome.FAIL, "the server gave up the HTTP/2 stream"),
    _E_TOO_LARGE: Failure(Outcome.FAIL, "the answer's headers are too large"),
    ENGINE_TROUBLE: Failure(Outcome.ERROR, "this node's HTTP engine is not running"),
}

# What OpenSSL calls content or unspecified, libcurl has still compared with the host name.
_CERTIFICATE_VERDICTS = CERTIFICATE_VERDICTS | dict.fromkeys((0, 1), CERTIFICATE_VERDICTS[62])


def explain_transfer(handle: pycurl.Curl, code: int) -> Failure:
    """`explain` for the transfer that `handle` has just made."""
    os_errno: int = handle.getinfo(pycurl.OS_ERRNO)
    if code == pycurl.E_COULDNT_CONNECT and not os_errno:
        os_errno = _errno_of_opening_a_socket()
    return explain(code, os_errno, handle.getinfo(pycurl.SSL_VERIFYRESULT))


def _errno_of_opening_a_socket() -> int:
    """libcurl does not tell why it could open no socket, so the same is tried here."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno or 0
    return 0


def explain(code: int, os_errno: int, verify_result: int) -> Failure:
    """What went wrong, from libcurl's code, the errno of the last connection attempt, and OpenSSL's verify result."""
    if code == pycurl.E_COULDNT_CONNECT:
        unknown = f"no connection (errno {os_errno})" if os_errno else "no connection"
        return CONNECT_FAILURES.get(os_errno, Failure(Outcome.FAIL, unknown))
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        unknown = f"the certificate was not accepted (OpenSSL verify result {verify_result})"
        return Failure(Outcome.FAIL, _CERTIFICATE_VERDICTS.get(verify_result, unknown))
    if code in (pycurl.E_RECV_ERROR, pycurl.E_SSL_CONNECT_ERROR) and os_errno == errno.ECONNRESET:
        return Failure(Outcome.FAIL, "connection reset")
    return _CODES.get(code) or Failure(Outcome.FAIL, f"the transfer failed (libcurl code {code})")
