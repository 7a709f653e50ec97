"""One DNS question over a datagram or a connection.

Guaranteed:

- Over UDP, one datagram is sent, from a port that the kernel picks at random and with a random id, and answers are taken from
  the server's address alone. What answers another question is ignored, up to DNS_STRAYS_MAX datagrams. Time runs to the
  arrival in this machine's kernel.
- At most DNS_UDP_BYTES_MAX bytes of a datagram are read, DNS_TCP_BYTES_MAX of a reply over a connection (RFC 7766, RFC 7858).
- A reply that does not fit the question, or cannot be read, raises BadAnswer over a connection; over UDP only the latter.

Not guaranteed: a lost datagram is not sent again; it ends in a timeout, and the check's own retry is the second try.
"""

import os
import socket
import struct

import trio

from demesh.failure import Failed, broken_connection, connect_failure
from demesh.limits import DNS_STRAYS_MAX, DNS_TCP_BYTES_MAX, DNS_UDP_BYTES_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from demesh.probes.datagram import DatagramSocket, Refused, socket_address
from demesh.probes.dialling import Progress
from demesh.probes.dns_message import Garbled, NotOurs, Question, Reply, read_reply
from demesh.probes.first_answer import BadAnswer

_LENGTH = struct.Struct("!H")
_WAITING = "still waiting for the answer"
_ENDED = "the connection was closed before the answer was complete"


async def ask_by_datagram(
    address: str, port: int, question: Question, deadline: float, timeout_ms: int, progress: Progress
) -> Reply:
    """The reply by `deadline` (trio's time). `timeout_ms` is only what is told of that. Raises Failed."""
    id_, strays = _random_id(), 0
    try:
        family, sockaddr = socket_address(address, port)
        with socket.socket(family, socket.SOCK_DGRAM) as plain, trio.move_on_at(deadline):
            datagrams = DatagramSocket(plain, sockaddr)
            sent_s = datagrams.send(question.encode(id_))
            while strays <= DNS_STRAYS_MAX:
                heard = await datagrams.receive(DNS_UDP_BYTES_MAX)
                try:
                    reply = read_reply(heard.data, question, id_)
                except NotOurs:
                    strays += 1
                    REFUSED.labels("dns", "stray_reply").inc()
                    continue
                progress.phases_us["answer"] = max(round((heard.at_s - sent_s) * 1_000_000), 0)
                return reply
            raise BadAnswer(Outcome.FAIL, f"more than {DNS_STRAYS_MAX} datagrams that answer another question")
    except Garbled as garbled:
        raise BadAnswer(Outcome.FAIL, str(garbled)) from None
    except Refused as refused:
        raise Failed(Outcome.FAIL, str(refused)) from None
    except OSError as error:
        raise connect_failure(error) from None
    ignored = f"; ignored {strays} that answer another question" if strays else ""
    raise Failed(Outcome.TIMEOUT, f"no answer within {timeout_ms} ms{ignored}")


async def ask_by_stream(stream: trio.abc.Stream, question: Question, progress: Progress) -> Reply:
    """The reply, however long it takes. Raises Failed."""
    id_ = _random_id()
    query = question.encode(id_)
    try:
        with progress.phase("answer", _WAITING):
            await stream.send_all(_LENGTH.pack(len(query)) + query)
            (length,) = _LENGTH.unpack(await _read(stream, _LENGTH.size))
            if length > DNS_TCP_BYTES_MAX:
                raise BadAnswer(
                    Outcome.FAIL, f"the answer has {length} bytes, more than the {DNS_TCP_BYTES_MAX} that are read"
                )
            wire = await _read(stream, length)
        reply = read_reply(wire, question, id_)
    except trio.BrokenResourceError as error:
        raise broken_connection(error, _ENDED) from None
    except NotOurs:
        raise BadAnswer(Outcome.FAIL, "the answer is not DNS, or is to another question") from None
    except Garbled as garbled:
        raise BadAnswer(Outcome.FAIL, str(garbled)) from None
    if reply.truncated:
        raise BadAnswer(Outcome.FAIL, "the answer is cut short though it came over a connection")
    return reply


async def _read(stream: trio.abc.Stream, length: int) -> bytes:
    data = b""
    while len(data) < length:
        came = await stream.receive_some(length - len(data))
        if not came:
            raise BadAnswer(Outcome.FAIL, _ENDED if data else "the connection was closed without an answer")
        data += came
    return data


def _random_id() -> int:
    return int.from_bytes(os.urandom(2), "big")
