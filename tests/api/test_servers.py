"""`GET /api/v1/servers` and `GET /servers`: the ranking as people and Dogdorm's readers want it."""

from typing import Any

import pytest

from tests.api.asking import Answer, Node, ask
from tests.api.schema import faults
from tests.view.build import PASS, deliver, row, three_vantages

pytestmark = pytest.mark.trio


def _node() -> Node:
    node = Node()
    rows = [row("time", type="ntp", target="ntp://time.example.net"), row("web")]
    rows.append(row("binding", type="stun", target="stun://stun.example.net:80", keys=(("transport", '"tcp"'),)))
    now_ms = node.clock.monotonic_ms()
    for member in three_vantages(node.view, *rows, at_ms=now_ms):
        for check in range(len(rows)):
            deliver(node.view, member, member.outcomes(now_ms, PASS, check=check), now_ms)
    return node


async def _ask(path: str, query: str = "") -> Answer:
    return await ask(path, node=_node(), query=query)


async def test_the_ranking_is_of_the_shape_that_openapi_json_describes_and_has_servers_only() -> None:
    document: Any = (await ask("/openapi.json")).json
    schema = document["paths"]["/api/v1/servers"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = await _ask("/api/v1/servers")
    assert faults(answer.json, schema, document) == []
    assert {each["name"] for each in answer.json["servers"]} == {"time", "binding"}
    (time,) = [each for each in answer.json["servers"] if each["name"] == "time"]
    assert (time["type"], time["host"], time["port"], time["state"]) == ("ntp", "time.example.net", 123, "up")
    assert [each["vote"] for each in time["vantages"]] == ["pass"] * 3


@pytest.mark.parametrize(
    ("query", "names"), [("type=ntp", ["time"]), ("family=6", []), ("limit=1&type=stun", ["binding"])]
)
async def test_one_may_ask_for_some_of_them(query: str, names: list[str]) -> None:
    assert [each["name"] for each in (await _ask("/api/v1/servers", query)).json["servers"]] == names


async def test_dogdorms_list_is_of_the_shape_that_openapi_json_describes() -> None:
    document: Any = (await ask("/openapi.json")).json
    schema = document["paths"]["/servers"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert faults((await _ask("/servers")).json, schema, document) == []


async def test_a_type_that_there_is_none_of_is_refused() -> None:
    assert (await _ask("/api/v1/servers", "type=gopher")).status == 422


async def test_readers_of_dogdorms_list_get_it_in_its_shape_without_credentials() -> None:
    told = (await _ask("/servers")).json
    assert set(told) == {"STUN(see_ip)", "STUN(test_nat)", "MQTT", "TURN", "NTP", "timestamp"}
    ((record,),) = told["NTP"]["IPv4"]["UDP"]
    assert (record["fqns"], record["port"], record["user"], record["password"]) == (
        ["time.example.net"],
        123,
        None,
        None,
    )
    assert told["STUN(see_ip)"]["IPv4"]["TCP"][0][0]["fqns"] == ["stun.example.net"]


async def test_who_has_the_list_already_is_told_that_and_sent_nothing() -> None:
    node = _node()
    first = await ask("/servers", node=node)
    tag = first.headers["etag"]
    again = await ask("/servers", node=node, headers=[("if-none-match", tag)])
    assert (again.status, again.body) == (304, b"")
    assert (await ask("/servers", node=node, headers=[("if-none-match", '"0"')])).status == 200
