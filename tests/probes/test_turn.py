"""The TURN probe against a real server and against ones that misbehave: what passes, what is refused, and what is given back."""

from collections.abc import Generator
from typing import Any

import pytest
import trio
from aioice import stun

from demesh.limits import TURN_STALE_NONCES_MAX
from demesh.outcome import Outcome
from demesh.probes import turn_client
from demesh.probes.base import ProbeSpec, TurnOptions
from demesh.probes.dialling import Progress
from demesh.probes.resolving import Resolver
from demesh.probes.stun_message import long_term_key
from demesh.probes.tls import TlsContexts
from demesh.probes.turn_client import Login, TurnClient, with_allocation
from tests.certificates import Authority
from tests.e2e.harness import eventually
from tests.probes.dns_servers import saying
from tests.probes.stun_servers import PASSWORD, USER, Coturn, ask, coturn, reply

PASS, FAIL, MISMATCH, TIMEOUT = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT
LOGIN: dict[str, Any] = {"user": USER, "password": PASSWORD}
KEY = long_term_key(USER, "relay.test", PASSWORD)
pytestmark = pytest.mark.trio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Coturn]:
    with coturn(tmp_path_factory.mktemp("turn") / "coturn", authority) as running:
        yield running


@pytest.mark.e2e
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_real_server_is_alive_and_with_a_login_relays_and_takes_back(server: Coturn, host: str, transport: str):
    way: dict[str, Any] = {"verify_tls": False} if transport == "tls" else {"transport": transport}
    target = server.target("turns" if transport == "tls" else "turn", host)
    alive = await ask(target, **way)
    assert (alive.outcome, alive.detail, alive.facts["realm"]) == (PASS, "", "relay.test")
    before = {"udp": [], "tcp": ["connect"], "tls": ["connect", "tls"]}[transport]
    assert list(alive.phases_us) == [*before, "answer"]
    result = await ask(target, **LOGIN, **way)
    assert (result.outcome, result.detail) == (PASS, "")
    assert list(result.phases_us) == [*before, "challenge", "allocate", "permission", "release"]
    assert result.facts["relayed_address"].startswith("127.0.0.1:")
    assert eventually(server.allocations, lambda left: left == 0, 5, "no allocation is left") == 0


@pytest.mark.e2e
@pytest.mark.parametrize(
    "login", [{"user": USER, "password": "wrong-pass"}, {"user": "nobody-knows", "password": PASSWORD}]
)
async def test_a_login_that_is_refused_is_said_to_be_and_not_repeated(server: Coturn, login: dict[str, Any]):
    result = await ask(server.target("turn"), **login)
    assert (result.outcome, result.detail) == (FAIL, "the server refuses the user or the password (error 401)")
    assert not any(secret in repr(result) for secret in (*login.values(), PASSWORD))


@pytest.mark.e2e
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_two_clients_reach_each_other_through_a_real_server(server: Coturn, transport: str):
    target = f"{server.target('turn')}?transport={transport}"
    spec = ProbeSpec("turn", target, 5000)
    ways = (spec, TurnOptions(**LOGIN), Resolver(), TlsContexts(), trio.current_time() + 5, Progress())

    async def first(one: TurnClient) -> None:
        async def second(two: TurnClient) -> None:
            assert one.relayed
            assert two.relayed
            await one.permit(two.relayed[0])
            await two.permit(one.relayed[0])
            await one.send(two.relayed, b"ping")
            assert await two.receive() == (one.relayed, b"ping")
            await two.send(one.relayed, b"pong")
            await one.refresh(600)  # what comes meanwhile is kept
            assert await one.receive() == (two.relayed, b"pong")

        await with_allocation(*ways, second)

    with trio.fail_after(10):
        await with_allocation(*ways, first)
    assert eventually(server.allocations, lambda left: left == 0, 5, "no allocation is left") == 0


class Script:
    """A server that wants a login, with `answers` in turn for each kind of request that has one."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.nonces: list[bytes] = []
        self.lifetimes: list[int | None] = []
        self.wire = b""

    def __call__(self, request: bytes) -> list[bytes]:
        self.wire += request
        message = stun.parse_message(request)
        method = message.message_method.name
        if "USERNAME" not in message.attributes:
            return [reply(request, error=True, ERROR_CODE=(401, "who?"), REALM="relay.test", NONCE=b"n0")]
        self.asked.append(method)
        self.nonces.append(message.attributes["NONCE"])
        self.lifetimes.append(message.attributes.get("LIFETIME"))
        said = self.answers.get(method, [])
        answer = said.pop(0) if said else {}
        if answer is None:
            return []
        if isinstance(answer, tuple):
            return [reply(request, error=True, ERROR_CODE=answer[:2], REALM="relay.test", NONCE=answer[2])]
        good: dict[str, Any] = {
            "XOR_RELAYED_ADDRESS": ("192.0.2.1", 5),
            "XOR_MAPPED_ADDRESS": ("192.0.2.2", 6),
            "LIFETIME": 600,
        }
        return [reply(request, key=answer.get("key", KEY), **good)]


async def asked(script: Script, timeout_ms: int = 2000) -> tuple[Outcome, str]:
    async with saying(script) as port:
        result = await ask(f"turn://127.0.0.1:{port}", timeout_ms, **LOGIN)
    assert not any(secret in repr(result) for secret in LOGIN.values())
    assert PASSWORD.encode() not in script.wire
    return result.outcome, result.detail


async def test_a_socket_that_is_said_to_be_in_use_is_replaced():
    script = Script(ALLOCATE=[(437, USER, b"n0")])
    assert await asked(script) == (PASS, "")
    assert script.asked == ["ALLOCATE", "ALLOCATE", "CREATE_PERMISSION", "REFRESH"]
    always = Script(ALLOCATE=[(437, "", b"n0")] * 9)
    assert await asked(always) == (FAIL, "the server answers with error 437 (Allocation Mismatch) to an allocation")


@pytest.mark.parametrize("public", [["127.0.0.1"], ["127.0.0.1", "192.0.2.1"], ["192.0.2.1"], []])
async def test_a_public_server_hands_out_public_addresses(public: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turn_client, "is_public", public.__contains__)
    script = Script()
    told = (MISMATCH, "the relayed address, 192.0.2.1:5, is no public address")
    assert await asked(script) == (told if public == ["127.0.0.1"] else (PASS, ""))
    assert (script.asked[-1], script.lifetimes[-1]) == ("REFRESH", 0)


async def test_a_stale_nonce_is_replaced_a_few_times():
    script = Script(ALLOCATE=[(438, "", b"n1")], REFRESH=[(438, "", b"n2")])
    assert await asked(script) == (PASS, "")
    assert script.nonces == [b"n0", b"n1", b"n1", b"n1", b"n2"]
    always = Script(ALLOCATE=[(438, "", b"n1")] * 9)
    assert (await asked(always))[1] == "the server calls every nonce stale that it gives (error 438)"
    assert always.asked.count("ALLOCATE") == 1 + TURN_STALE_NONCES_MAX


async def test_an_allocation_is_given_back_when_the_run_fails():
    script = Script(CREATE_PERMISSION=[(403, PASSWORD, b"n0")])
    assert await asked(script) == (FAIL, "the server answers with error 403 (Forbidden) to a permission")
    assert (script.asked[-1], script.lifetimes[-1]) == ("REFRESH", 0)


@pytest.mark.parametrize("silent", ["ALLOCATE", "CREATE_PERMISSION"])
async def test_an_allocation_is_given_back_when_the_time_is_over(silent: str):
    script = Script(**{silent: [None] * 9})
    began_s = trio.current_time()
    outcome, _ = await asked(script, 1_500)
    assert outcome == TIMEOUT
    assert trio.current_time() - began_s < 1.5 + 3
    assert (script.asked[-1], script.lifetimes[-1]) == ("REFRESH", 0)


async def test_an_allocation_is_given_back_when_the_run_is_cancelled():
    script = Script(CREATE_PERMISSION=[None] * 9)
    async with saying(script) as port:
        with trio.move_on_after(1):
            await ask(f"turn://127.0.0.1:{port}", 5000, **LOGIN)
    assert (script.asked[-1], script.lifetimes[-1]) == ("REFRESH", 0)


@pytest.mark.parametrize("key", [None, b"of another"])
async def test_an_answer_that_is_not_signed_with_the_password_is_none(key: bytes | None):
    script = Script(ALLOCATE=[{"key": key}] * 9)
    assert await asked(script, 1_500) == (MISMATCH, "the answer is not signed with the password")


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        ({"ERROR_CODE": (401, "")}, MISMATCH, "the server wants a login, but names no REALM or no NONCE"),
        ({"ERROR_CODE": (508, "Full")}, FAIL, "the server answers with error 508 (Full)"),
    ],
)
async def test_without_a_login_only_a_proper_challenge_is_a_sign_of_life(answer: Any, outcome: Outcome, detail: str):
    async with saying(lambda request: [reply(request, error=True, **answer)]) as port:
        result = await ask(f"turn://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (outcome, detail)


async def test_what_anybody_gets_is_given_back():
    asked: list[str] = []

    def respond(request: bytes) -> list[bytes]:
        asked.append(stun.parse_message(request).message_method.name)
        return [reply(request, XOR_RELAYED_ADDRESS=("192.0.2.1", 5), LIFETIME=600)]

    async with saying(respond) as port:
        result = await ask(f"turn://127.0.0.1:{port}")
    assert (result.outcome, asked) == (PASS, ["ALLOCATE", "REFRESH"])


async def test_no_repr_holds_a_login():
    assert PASSWORD not in repr((Login(USER, PASSWORD), TurnOptions(**LOGIN)))
    assert USER not in repr((Login(USER, PASSWORD), TurnOptions(**LOGIN)))
