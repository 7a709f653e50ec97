"""What the ping probe refuses before it sends anything, and what keeps it from sending."""

import errno
import socket

import pytest

from demesh.limits import PING_PACKETS_MAX
from demesh.outcome import Outcome
from demesh.probes import rights
from demesh.probes.base import PingOptions, ProbeSpec
from demesh.probes.ping import PingProbe
from tests.probes.servers import fake_resolver


@pytest.mark.trio
@pytest.mark.parametrize(
    ("target", "options", "detail"),
    [
        ("ping://", PingOptions(), "the target is not of the form ping://HOST"),
        ("ping://[::1", PingOptions(), "the target is not of the form ping://HOST"),
        ("ping://127.0.0.1", PingOptions(packets=0), "packets must be 1 to 20"),
        ("ping://127.0.0.1", PingOptions(packets=PING_PACKETS_MAX + 1), "packets must be 1 to 20"),
        ("ping://127.0.0.1", PingOptions(payload_bytes=7), "the payload must have 8 to 16384 bytes"),
        ("ping://127.0.0.1", PingOptions(payload_bytes=16_385), "the payload must have 8 to 16384 bytes"),
    ],
)
async def test_what_cannot_be_pinged_is_an_error(target: str, options: PingOptions, detail: str):
    result = await PingProbe(fake_resolver({}))(ProbeSpec("ping", target, 1000, options=options))
    assert (result.outcome, result.detail) == (Outcome.ERROR, detail)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("error", "detail", "reason"),
    [
        (
            errno.EPERM,
            f"this node is not allowed to ping: {rights.REMEDY}",
            f"this node is not allowed to ping: {rights.REMEDY}",
        ),
        (errno.EMFILE, "this node is out of file descriptors", "this node has no socket for ICMP over IPv4 (errno 24)"),
        (
            errno.EAFNOSUPPORT,
            "no network: this node does not speak the address's family",
            "this node has no socket for ICMP over IPv4 (errno 97)",
        ),
    ],
)
async def test_a_socket_that_cannot_be_opened_is_an_error(
    error: int, detail: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> socket.socket:
        raise OSError(error, "")

    with monkeypatch.context() as patched:
        patched.setattr(rights.socket, "socket", refuse)
        result = await PingProbe(fake_resolver({}))(ProbeSpec("ping", "ping://127.0.0.1", 1000))
        right = rights.ping_rights()
    assert (result.outcome, result.detail) == (Outcome.ERROR, detail)
    assert (right.way, right.reason) == ("none", reason)
