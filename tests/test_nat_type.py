"""The type of this machine's NAT: few packets and little time, whatever the server does."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aioice import stun

from demesh import nat_type
from demesh.doctor.finding import Level
from demesh.doctor.node import nat
from demesh.limits import NAT_TYPE_PACKETS_MAX
from demesh.nat_type import UNKNOWN, NatType, find_nat_type
from tests.config.files import settings

Respond = Callable[[int, bytes, tuple[str, int]], bytes | None]


@contextmanager
def server(respond: Respond) -> Generator[tuple[int, list[bytes]]]:
    """The port of a server that answers with `respond(how many came before, request, source)`; and what came."""
    came: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                request, source = sock.recvfrom(2048)
                if request == b"end":
                    return
                answer = respond(len(came), request, source)
                came.append(request)
                if answer is not None:
                    sock.sendto(answer, source)

        thread = threading.Thread(target=serve)
        thread.start()
        yield sock.getsockname()[1], came
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"end", sock.getsockname())
        thread.join()


def answer(request: bytes, *, error: bool = False, **attributes: object) -> bytes:
    kind = stun.Class.ERROR if error else stun.Class.RESPONSE
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    wire = bytes(stun.Message(stun.Method.BINDING, kind, request[8:20], named))
    return wire[:4] + request[4:20] + wire[20:]


OTHER = ("127.0.0.1", 9)
AWAY = ("192.0.2.7", 4000)


def test_an_error_in_reply_costs_two_packets():
    def respond(before: int, request: bytes, _source: tuple[str, int]) -> bytes:
        if before:
            return answer(request, error=True, ERROR_CODE=(420, "Unknown Attribute"))
        return answer(request, MAPPED_ADDRESS=AWAY, CHANGED_ADDRESS=OTHER)

    with server(respond) as (port, came):
        found = find_nat_type("127.0.0.1", port)
    assert found == NatType(UNKNOWN, "192.0.2.7:4000", "the server does not answer from elsewhere when it is asked to")
    assert len(came) == 2


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        (lambda source: {"MAPPED_ADDRESS": source}, "no NAT"),
        (lambda source: {"SOFTWARE": "padded", "XOR_MAPPED_ADDRESS": source}, "no NAT"),
        (lambda source: {"SOFTWARE": "padded", "MAPPED_ADDRESS": AWAY, "OTHER_ADDRESS": OTHER}, "full cone"),
    ],
)
def test_what_servers_send_today_is_understood(attributes: Callable[[tuple[str, int]], dict], word: str):
    with server(lambda _, request, source: answer(request, **attributes(source))) as (port, _came):
        found = find_nat_type("127.0.0.1", port)
    assert (found.word, found.why) == (word, "")


@pytest.mark.parametrize("public", [True, False])
def test_a_public_server_cannot_direct_packets_into_the_network(public: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nat_type, "is_public", lambda address: public and address == "127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.bind(("127.0.0.2", 0))
        inside.setblocking(False)
        other = inside.getsockname()

        def respond(before: int, request: bytes, _source: tuple[str, int]) -> bytes | None:
            return None if before else answer(request, MAPPED_ADDRESS=AWAY, CHANGED_ADDRESS=other)

        with server(respond) as (port, _came):
            found = find_nat_type("127.0.0.1", port)
        if public:
            assert found.why == "the server is public, and the other address that it names is not"
            with pytest.raises(BlockingIOError):
                inside.recv(2048)
        else:
            assert len(inside.recv(2048)) > 0


@pytest.mark.parametrize(
    "respond",
    [
        lambda _, request, source: None,
        lambda _, request, source: b"\0",
        lambda _, request, source: answer(request)[:25],
        lambda _, request, source: b"\x0f\xff" + answer(request, MAPPED_ADDRESS=AWAY)[2:],
        lambda _, request, source: answer(request[:19] + b"?", MAPPED_ADDRESS=AWAY),
        lambda before, request, source: None if before else answer(request, MAPPED_ADDRESS=AWAY),
    ],
)
def test_whatever_the_server_does_it_ends(respond: Respond):
    with server(respond) as (port, came):
        found = find_nat_type("127.0.0.1", port)
    assert found.word in (UNKNOWN, "blocked")
    assert len(came) <= NAT_TYPE_PACKETS_MAX


@pytest.mark.parametrize(
    ("bound", "value", "packets_max", "why"),
    [
        ("NAT_TYPE_SECONDS_MAX", 0.4, 3, "0.4 s were not enough"),
        ("NAT_TYPE_PACKETS_MAX", 2, 2, "2 packets were not enough"),
    ],
)
def test_the_bounds_are_of_all_packets_together(
    bound: str, value: float, packets_max: int, why: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nat_type, bound, value)
    with server(lambda *_: None) as (port, came):
        found = find_nat_type("127.0.0.1", port)
    assert (found.word, found.why) == (UNKNOWN, why)
    assert len(came) <= packets_max


def test_the_doctor_tells_it_if_a_check_names_a_server(tmp_path: Path):
    with server(lambda _, request, source: answer(request, MAPPED_ADDRESS=source)) as (port, _came):
        text = (
            f"[[check]]\nname = 'a'\ntarget = 'stuns://a'\n[[check]]\nname = 'b'\ntarget = 'stun://127.0.0.1:{port}'\n"
        )
        (found,) = nat(settings(tmp_path, text))
    assert found.level is Level.GOOD
    assert found.sentence.startswith("no NAT, by 127.0.0.1; from outside this machine is 127.0.0.1:")
    assert nat(settings(tmp_path, "[[check]]\nname = 'a'\ntarget = 'stuns://a'\n")) == []
