"""What strangers get: a few routes, and in their answers nothing that is not for everybody."""

import json
import re
from dataclasses import replace
from typing import Any, cast

import pytest
import trio
from starlette.routing import Route
from trio.testing import MockClock

from demesh import limits
from demesh.api.guard import Asgi
from demesh.api.public import make_public_app, public_app
from demesh.view.fold import View
from tests.api.asking import Answer, Node, ask
from tests.log.builders import counted
from tests.view.build import FAIL, PASS, MemberLog, deliver, row

pytestmark = pytest.mark.trio

_LISTED = (("listed", "true"),)
_ROWS = (
    row("time of all", type="ntp", target="ntp://time.example.net", keys=_LISTED),
    row("mail of all", type="tcp", target="tcp://mail.example.net:25", keys=_LISTED),
    row(
        "shop", target="https://inside.example.net/shop", runbook="https://wiki.example.net/", labels=(("team", "ops"),)
    ),
    row("broker", type="mqtt", target="mqtt://broker.example.net"),
    row("our time", type="ntp", target="ntp://ntp.example.net"),
)
_PATHS = ("/", "/servers", "/api/v1/servers", "/badge/time%20of%20all.svg", "/badge/shop.svg", "/healthz", "/nothing")
_PRIVATE = (
    *("inside.example.net", "broker", "our time", "ntp.example.net", "wiki.example", "team", "ops"),
    *("ann-of-fra", "ben-of-nas", "cat-of-lab", "10.9.8.7", "hunter2", "12D3Koo", "0a1b2c3d", "refused it"),
)


def _node(*public_checks: str) -> Node:
    node = Node()
    node.view = View(MemberLog("ann-of-fra").key, 0)
    node.ranking._view = node.view
    now_ms = node.clock.monotonic_ms()
    for name in ("ann-of-fra", "ben-of-nas", "cat-of-lab"):
        member = MemberLog(name)
        said = member.hello(now_ms, addresses=("/ip4/10.9.8.7/tcp/8471",), tags=("hunter2",))
        deliver(node.view, member, [said, member.plan(now_ms, *_ROWS)], now_ms)
        for check in range(len(_ROWS)):
            outcome = FAIL if check == 2 and name != "cat-of-lab" else PASS
            deliver(node.view, member, member.outcomes(now_ms, outcome, outcome, check=check), now_ms)
    node.settings = replace(node.settings, public_checks=frozenset(public_checks))
    return node


def _app(node: Node) -> Asgi:
    return make_public_app(cast(Any, node))


async def _ask(path: str, node: Node | None = None, **asked: Any) -> Answer:
    return await ask(path, app=_app(node or _node()), **asked)


async def test_there_are_these_routes_and_no_others() -> None:
    routes = [cast(Route, each) for each in public_app(cast(Any, _node())).routes]
    assert [each.path for each in routes] == ["/", "/servers", "/api/v1/servers", "/badge/{name:path}.svg", "/healthz"]
    assert all(each.methods == {"GET", "HEAD"} for each in routes)


async def test_nothing_else_of_the_nodes_own_api_is_there_and_nothing_changes_anything() -> None:
    node = _node("*")
    app = _app(node)
    described: dict[str, Any] = (await ask("/openapi.json", node=node)).json["paths"]
    both = {"/servers", "/api/v1/servers", "/badge/{name}.svg", "/healthz"}
    assert both < described.keys()
    for path in (
        *described,
        "/openapi.json",
        "/docs",
        "/redoc",
        "/metrics/",
        "//metrics",
        "/api/v1/status/",
        "/servers/",
    ):
        got = await ask(path, app=app)
        assert (got.status == 404) == (path not in both - {"/badge/{name}.svg"}), path
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            refused = await ask(path, app=app, method=method, client=cast(Any, None))
            assert refused.status == (405 if path in both else 404), (method, path)
            assert list(refused.json) == ["error"]
    assert (node.reloads, node.leaves, node.forgotten, node.asked) == (0, 0, [], [])


async def test_of_what_is_not_for_everybody_nothing_is_in_any_answer() -> None:
    node = _node("shop")
    for path in _PATHS:
        answer = await _ask(path.replace("%20", " "), node)
        said = answer.body.decode() + json.dumps(answer.headers)
        assert [word for word in _PRIVATE if word in said] == [], path


async def test_servers_of_lists_are_told_in_full_and_vantages_by_number() -> None:
    (server,) = (await _ask("/api/v1/servers")).json["servers"]
    assert (server["name"], server["host"], server["port"], server["state"]) == (
        *("time of all", "time.example.net", 123),
        "up",
    )
    assert [(each["node"], each["vote"]) for each in server["vantages"]] == [(n, "pass") for n in "123"]
    told = (await _ask("/servers")).json
    assert [record["fqns"] for ((record,),) in [told["NTP"]["IPv4"]["UDP"]]] == [["time.example.net"]]
    assert told["MQTT"]["IPv4"]["TCP"] == []
    page = (await _ask("/")).body.decode()
    assert "time.example.net:123" in page
    assert "tcp://mail.example.net:25" in page
    assert "3 of 3" in page


async def test_other_checks_are_there_by_name_and_state_once_the_configuration_names_them(
    mock_clock: MockClock,
) -> None:
    node = _node()
    app = _app(node)
    for path in ("/badge/shop.svg", "/badge/no such check.svg"):
        answer = await ask(path, app=app)
        assert (answer.status, answer.json) == (
            404,
            {"error": "There is nothing here, or nothing that is meant for everybody."},
        )
    assert "shop" not in (await ask("/", app=app)).body.decode()
    node.settings = replace(node.settings, public_checks=frozenset({"shop"}))
    mock_clock.jump(limits.PUBLIC_TOLD_AGAIN_MS / 1_000)
    assert b">down<" in (await ask("/badge/shop.svg", app=app)).body
    page = (await ask("/", app=app)).body.decode()
    assert re.search(r">shop</th><td><span class=\"state down\">down</span>", page)
    assert "1 of 3" in page
    everything = (await _ask("/", _node("*"))).body.decode()
    assert all(name in everything for name in ("shop", "broker", "our time"))
    assert "example.net/shop" not in everything
    assert "broker.example" not in everything


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize("type_", ["ntp", "tcp"])
async def test_a_server_that_never_answered_anybody_is_in_no_answer_and_in_no_count(type_: str, parked: bool) -> None:
    node = _node("*")
    before = (await _ask("/", node)).body.decode()
    dead = row("dead one", type=type_, target=f"{type_}://dead.example.net:25", keys=_LISTED)
    now_ms = node.clock.monotonic_ms()
    for member in (MemberLog("dan"), MemberLog("eve")):
        deliver(node.view, member, [member.hello(now_ms), member.plan(now_ms, dead)], now_ms)
        deliver(node.view, member, member.outcomes(now_ms, FAIL, FAIL), now_ms)
        if parked:
            left = replace(dead, runs=False, parked=True)
            deliver(node.view, member, member.plan(now_ms, left), now_ms)
    assert "dead one" in {each.row.name for each in node.view.checks(now_ms)}
    for path in ("/", "/servers", "/api/v1/servers"):
        assert b"dead" not in (await _ask(path, node)).body, path
    assert (await _ask("/badge/dead one.svg", node)).status == 404
    counts = re.compile(r"<p>\d+ check.*?</p>")
    assert counts.findall((await _ask("/", node)).body.decode()) == counts.findall(before) != []


async def test_many_readers_cost_as_much_as_one(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUBLIC_TURNS_BURST", 100)
    node = _node()
    looks: list[int] = []
    checks = node.view.checks
    monkeypatch.setattr(node.view, "checks", lambda now_ms: (looks.append(now_ms), checks(now_ms))[1])
    app = _app(node)
    async with trio.open_nursery() as nursery:
        for path in ("/", "/servers", "/api/v1/servers", "/badge/time of all.svg") * 10:
            nursery.start_soon(lambda path=path: ask(path, app=app))
    once = len(looks)
    assert once == 3, "one for the ranking, one for what is told, one whether that is settled"
    mock_clock.jump(limits.PUBLIC_TOLD_AGAIN_MS / 1_000)
    await ask("/", app=app)
    await ask("/servers", app=app)
    assert len(looks) == once + 2


@pytest.mark.parametrize("path", ["/", "/servers", "/api/v1/servers"])
async def test_who_has_an_answer_already_is_sent_nothing(path: str) -> None:
    app = _app(_node())
    first = await ask(path, app=app)
    assert first.status == 200
    assert first.body
    again = await ask(path, app=app, headers=[("if-none-match", first.headers["etag"])])
    assert (again.status, again.body) == (304, b"")
    assert (await ask(path, app=app, headers=[("if-none-match", '"0"')])).status == 200


@pytest.mark.parametrize(("path", "time"), [("/servers", "timestamp"), ("/api/v1/servers", "as_of")])
async def test_a_list_that_says_the_same_later_is_not_sent_again(
    path: str, time: str, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVERS_RANKED_AGAIN_MS", 10_000)  # all vantages are still heard then
    app = _app(_node())
    first = await ask(path, app=app)
    mock_clock.jump(10)
    assert (await ask(path, app=app)).json[time] != first.json[time], "it was ranked again"
    assert (await ask(path, app=app, headers=[("if-none-match", first.headers["etag"])])).status == 304


async def test_a_long_answer_is_handed_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(range(256)) * 1_000
    monkeypatch.setattr("demesh.api.public_answers.page", lambda scene: body)
    pieces: list[bytes] = []

    async def pass_on(scope: Any, receive: Any, send: Any) -> None:
        async def counting(message: Any) -> None:
            pieces.append(message.get("body", b""))
            await send(message)

        await app(scope, receive, counting)

    app = _app(_node())
    assert (await ask("/", app=pass_on)).body == body
    assert max(map(len, pieces)) == limits.PUBLIC_PIECE_BYTES


@pytest.mark.parametrize("path", _PATHS)
async def test_every_answer_keeps_browsers_from_guessing_loading_and_telling(path: str) -> None:
    headers = (await _ask(path.replace("%20", " "))).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "set-cookie" not in headers
    if path not in ("/healthz", "/nothing", "/badge/shop.svg"):
        assert headers["cache-control"] == "max-age=10"


async def test_all_are_told_the_same_whoever_they_say_they_are() -> None:
    app = _app(_node())
    plain = await ask("/", app=app)
    said = [
        ("cookie", "session=1"),
        ("authorization", "Bearer x"),
        ("x-forwarded-for", "192.0.2.1"),
        ("range", "bytes=0-1"),
    ]
    for host in ("evil.example", None):
        asked = await ask("/", app=app, host=host, headers=said, client=("192.0.2.9", 1))
        assert (asked.status, asked.body, asked.headers) == (200, plain.body, plain.headers)


async def test_the_list_is_told_as_a_whole_and_says_so() -> None:
    before = counted("demesh_refused_total", room="public", reason="query")
    refused = await _ask("/api/v1/servers", query="type=ntp")
    assert refused.status == 422
    assert "as a whole" in refused.json["error"]
    assert counted("demesh_refused_total", room="public", reason="query") == before + 1


async def test_refusals_are_counted() -> None:
    before = [counted("demesh_refused_total", room="public", reason=reason) for reason in ("path", "method")]
    await _ask("/metrics")
    await _ask("/", method="POST")
    after = [counted("demesh_refused_total", room="public", reason=reason) for reason in ("path", "method")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]


async def test_an_answer_that_is_not_there_in_time_is_refused(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = _node()
    monkeypatch.setattr(node.ranking, "ranked", trio.sleep_forever)
    before = counted("demesh_refused_total", room="public", reason="slow")
    began = trio.current_time()
    answer = await _ask("/", node)
    assert (answer.status, trio.current_time() - began) == (503, limits.PUBLIC_ANSWER_SECONDS_MAX)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert counted("demesh_refused_total", room="public", reason="slow") == before + 1


async def test_requests_take_turns(autojump_clock: MockClock) -> None:
    app = _app(_node())
    began, many = trio.current_time(), 3 * limits.PUBLIC_TURNS_PER_SECOND_MAX
    async with trio.open_nursery() as nursery:
        for _ in range(many):
            nursery.start_soon(lambda: ask("/healthz", app=app))
    took = trio.current_time() - began
    assert took == pytest.approx((many - limits.PUBLIC_TURNS_BURST) / limits.PUBLIC_TURNS_PER_SECOND_MAX, abs=0.1)
