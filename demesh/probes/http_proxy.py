"""Proxies of HTTP checks: which can be used, and whose trouble it is when one fails. A login in its URL stays with the proxy."""

from urllib.parse import urlsplit

import pycurl

from demesh.failure import Failed, Failure
from demesh.outcome import Outcome

_REFUSED_LOGIN = 407
_REFUSED_BY_RULE = (403, 405)


def check_proxy(proxy: str) -> None:
    """Raises Failed, without repeating it, unless `proxy` is the URL of an HTTP proxy."""
    try:
        parts = urlsplit(proxy)
        fits = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and proxy.isascii()
    except ValueError:
        fits = False
    if not fits:
        raise Failed(Outcome.ERROR, "the proxy is not the URL of an HTTP proxy; one looks like http://proxy:3128")


def explain_proxy(handle: pycurl.Curl, code: int, failure: Failure) -> Failure:
    """What a transfer by way of a proxy failed for, where `failure` is what it would be without one."""
    status: int = handle.getinfo(pycurl.HTTP_CONNECTCODE)
    if status and not 200 <= status < 300:
        if status == _REFUSED_LOGIN:
            return Failure(Outcome.ERROR, "the proxy wants another login (status 407)")
        if status in _REFUSED_BY_RULE:
            return Failure(Outcome.ERROR, f"the proxy does not let this node through to the target (status {status})")
        return Failure(Outcome.FAIL, f"the proxy could not reach the target (status {status})")
    if code == pycurl.E_COULDNT_RESOLVE_PROXY:
        return Failure(Outcome.ERROR, "the proxy's host name could not be resolved")
    if code == pycurl.E_COULDNT_CONNECT:
        return Failure(Outcome.ERROR, f"this node gets no connection to its proxy: {failure.sentence}")
    if code == pycurl.E_OPERATION_TIMEDOUT and not handle.getinfo(pycurl.CONNECT_TIME_T):
        return Failure(Outcome.ERROR, "this node's proxy does not answer")
    return failure
