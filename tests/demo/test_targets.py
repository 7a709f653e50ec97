"""Targets answer as they are told, and tell who asks by the login."""

import http.client
import random
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing

import pytest

from demesh.demo.serving import free_port
from demesh.demo.targets import How, Target


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target("api", free_port(random.Random()), knows_askers=True)
    yield target
    target.close()


def _ask(target: Target, user: str = "", seconds: float = 5) -> int:
    host, port = target.url.removeprefix("http://").split(":")
    login = {"Authorization": f"Basic {b64encode(f'{user}:demo'.encode()).decode()}"} if user else {}
    with closing(http.client.HTTPConnection(host, int(port), timeout=seconds)) as connection:
        connection.request("GET", "/", headers=login)
        return connection.getresponse().status


def test_it_answers_everybody_as_it_is_told(target: Target) -> None:
    assert _ask(target) == 200
    target.answer(How.UNAVAILABLE)
    assert (_ask(target), _ask(target, "fra")) == (503, 503)
    target.answer(How.WELL)
    assert _ask(target) == 200


def test_it_can_fail_for_one_node_only_until_all_is_said_to_be_well(target: Target) -> None:
    target.answer(How.UNAVAILABLE, to="nyc")
    assert (_ask(target, "fra"), _ask(target, "nyc"), _ask(target)) == (200, 503, 200)
    target.answer(How.WELL)
    assert _ask(target, "nyc") == 200


def test_it_can_refuse_connections_and_listen_again_where_it_was(target: Target) -> None:
    target.answer(How.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        _ask(target)
    target.answer(How.WELL)
    assert _ask(target) == 200


def test_it_can_hang(target: Target) -> None:
    target.answer(How.HANG)
    with pytest.raises(TimeoutError):
        _ask(target, seconds=0.3)


def test_a_login_that_is_none_is_nobodys(target: Target) -> None:
    target.answer(How.UNAVAILABLE, to="nyc")
    _, port = target.url.rsplit(":", 1)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\nAuthorization: Basic !!\xff\r\n\r\n")
        assert b" 200 " in raw.recv(100)
