"""Who is answered, and who is refused and counted."""

import logging
from pathlib import Path
from typing import Any

import pytest

from demesh.api.guard import Access
from demesh.tokens import Scope, TokenCheck, Tokens
from tests.api.asking import Node, ask
from tests.log.builders import counted

pytestmark = pytest.mark.trio
_READ = "/api/v1/status"
_CHANGE = "/api/v1/reload"
_LOOPBACK = ("127.0.0.1", 50_000)
_ELSEWHERE = ("192.0.2.99", 50_000)
_PATHS = ["/healthz", "/metrics", _READ, "/api/v1/log/heads", "/openapi.json", "/nothing"]


class _Tokens:
    """One token of each scope."""

    def __init__(self, home: Path) -> None:
        self.kept = Tokens(home / "tokens.json")
        self.read = self.kept.make("reader", Scope.READ, 0)
        self.write = self.kept.make("writer", Scope.WRITE, 0)
        self.access = Access(TokenCheck(home / "tokens.json", None), "0.0.0.0")


@pytest.fixture
def tokens(tmp_path: Path) -> _Tokens:
    return _Tokens(tmp_path)


def _refused(reason: str) -> float:
    return counted("demesh_refused_total", room="api", reason=reason)


@pytest.mark.parametrize("path", _PATHS)
async def test_nothing_is_read_from_elsewhere_without_a_token(path: str, tokens: _Tokens) -> None:
    before = _refused("token")
    answer = await ask(path, client=_ELSEWHERE, access=tokens.access)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json) == ["error"]
    assert _refused("token") == before + 1
    for token in (tokens.read, tokens.write):
        assert (await ask(path, client=_ELSEWHERE, token=token, access=tokens.access)).status in (200, 404)


@pytest.mark.parametrize("client", [_LOOPBACK, ("127.9.9.9", 1), ("::1", 1), ("::ffff:127.0.0.1", 1), None])
async def test_reading_on_this_machine_needs_no_token(client: Any, tokens: _Tokens) -> None:
    assert (await ask(_READ, client=client, access=tokens.access)).status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_what_a_proxy_passes_on_comes_from_elsewhere(header: str, tokens: _Tokens) -> None:
    passed_on = [(header.lower(), "for=192.0.2.99")]
    assert (await ask(_READ, headers=passed_on, access=tokens.access)).status == 401
    assert (await ask(_READ, headers=passed_on, token=tokens.read, access=tokens.access)).status == 200


@pytest.mark.parametrize("client", [_LOOPBACK, _ELSEWHERE])
async def test_changing_needs_a_token_that_may_write(client: Any, tokens: _Tokens) -> None:
    async def change(token: str | None) -> tuple[int, int]:
        node = Node()
        answer = await ask(_CHANGE, method="POST", client=client, token=token, access=tokens.access, node=node)
        return answer.status, node.reloads

    assert await change(None) == (401, 0)
    assert await change("demesh_wrong") == (401, 0)
    assert await change(tokens.read) == (403, 0)
    assert await change(tokens.write) == (200, 1)


async def test_the_unix_socket_is_the_nodes_own_users_and_may_do_all(tokens: _Tokens) -> None:
    node = Node()
    assert (await ask(_CHANGE, method="POST", client=None, access=tokens.access, node=node)).status == 200


async def test_a_wrong_token_is_refused_even_where_none_is_needed(tokens: _Tokens) -> None:
    """Who shows a token believes that it counts; a revoked one must not go unnoticed on loopback."""
    assert (await ask(_READ, token="demesh_wrong", access=tokens.access)).status == 401


@pytest.mark.parametrize("shown", ["Basic {}", "Bearer", "Bearer  ", "{}", "Bearer {} {}"])
async def test_only_one_bearer_token_counts(shown: str, tokens: _Tokens) -> None:
    headers = [("authorization", shown.format(tokens.write, tokens.write))]
    assert (await ask(_READ, client=_ELSEWHERE, headers=headers, access=tokens.access)).status == 401
    twice = [("authorization", f"Bearer {tokens.write}")] * 2
    assert (await ask(_READ, client=_ELSEWHERE, headers=twice, access=tokens.access)).status == 401


async def test_a_token_counts_from_when_it_is_made_until_it_is_revoked(tokens: _Tokens) -> None:
    async def status(token: str) -> int:
        return (await ask(_READ, client=_ELSEWHERE, token=token, access=tokens.access)).status

    late = tokens.kept.make("late", Scope.READ, 0)
    assert await status(late) == 200
    tokens.kept.revoke("late")
    assert await status(late) == 401
    assert await status(tokens.read) == 200


async def test_no_token_is_logged_or_told(tokens: _Tokens, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await ask(_READ, client=_ELSEWHERE, token="demesh_sesame", access=tokens.access)
    assert b"sesame" not in answer.body
    assert "192.0.2.99" in caplog.text
    assert "sesame" not in caplog.text


_OWN_NAMES = [
    "localhost",
    "LocalHost:8470",
    "127.0.0.1",
    "127.0.0.1:8470",
    "127.0.0.2:8470",
    "[::1]",
    "[::1]:8470",
    "[0:0:0:0:0:0:0:1]:8470",
    None,
]
_OTHER_NAMES = [
    "",
    "attacker.example",
    "attacker.example:8470",
    "localhost.attacker.example",
    "127.0.0.1.attacker.example:8470",
    "::1",
    "localhost:http",
    "[::1",
]
_ADDRESSES = ["192.0.2.7:8470", "0.0.0.0:8470", "[2001:db8::1]:8470"]


def _access(tmp_path: Path, listen: str | None, *hosts: str) -> Access:
    return Access(TokenCheck(tmp_path / "tokens.json", None), listen, hosts)


@pytest.mark.parametrize("host", _OWN_NAMES)
async def test_a_name_of_this_machine_is_answered(host: str | None, tmp_path: Path) -> None:
    before = _refused("host")
    assert (await ask("/healthz", host=host, access=_access(tmp_path, "127.0.0.1"))).status == 200
    assert _refused("host") == before


@pytest.mark.parametrize("host", _OTHER_NAMES + _ADDRESSES)
async def test_a_name_that_is_not_this_machines_is_refused_and_counted(host: str, tmp_path: Path) -> None:
    before = _refused("host")
    answer = await ask(_READ, host=host, access=_access(tmp_path, "127.0.0.1"))
    assert answer.status == 421
    assert "[api] hosts" in answer.json["error"]
    assert _refused("host") == before + 1


async def test_the_address_it_listens_at_is_answered_and_no_other(tmp_path: Path) -> None:
    access = _access(tmp_path, "192.0.2.7")
    assert access.knows_host("192.0.2.7:8470")
    assert not access.knows_host("192.0.2.8:8470")
    assert _access(tmp_path, "2001:db8::1").knows_host("[2001:DB8::1]:8470")


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
async def test_listening_everywhere_answers_to_any_address_but_to_no_name(listen: str, tmp_path: Path) -> None:
    access = _access(tmp_path, listen)
    assert all(map(access.knows_host, _ADDRESSES))
    assert not any(map(access.knows_host, _OTHER_NAMES))


async def test_configured_names_are_answered(tmp_path: Path) -> None:
    access = _access(tmp_path, "0.0.0.0", "nas.example.net")
    assert access.knows_host("NAS.example.net:8470")
    assert access.knows_host("nas.example.net")
    assert not access.knows_host("example.net")
