"""`GET /api/v1/servers` and `GET /servers`: the ranking as people and Dogdorm's readers want it."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.log.sums import HOUR_MS
from demesh.ranking import Ranking
from demesh.view.ranking import Records
from demesh.view.record import Record, Run, Runs
from tests.api.asking import Answer, Node, ask
from tests.api.schema import faults
from tests.view.build import PASS, deliver, result, row, three_vantages

pytestmark = pytest.mark.trio


def _node() -> Node:
    node = Node()
    rows = [row("time", type="ntp", target="ntp://time.example.net"), row("web")]
    rows.append(row("binding", type="stun", target="stun://stun.example.net:80", keys=(("transport", '"tcp"'),)))
    rows.append(row("nat", type="stun", target="stun://nat.example.net", keys=(("nat_behaviour", "true"),)))
    now_ms = node.clock.monotonic_ms()
    members = three_vantages(node.view, *rows, at_ms=now_ms)
    for member in members:
        said = [result(PASS, now_ms, check=check) for check in range(len(rows))]
        said[-1] = said[-1]._replace(address="8.8.8.8", other_address="8.8.4.4:3479")
        deliver(node.view, member, member.results(now_ms, *said), now_ms)
    run = Run(1_700_000_000_000, 1_700_086_400_000)
    runs = Runs(True, None, run, 2 * run.length_ms)
    record = Record(run.length_ms, 0, run.length_ms, 0.0, 95, 1, run.end_ms, runs)
    node.records = {"time": {member.key: record for member in members}}
    return node


async def _ask(path: str, query: str = "") -> Answer:
    return await ask(path, node=_node(), query=query)


async def test_the_ranking_is_of_the_shape_that_openapi_json_describes_and_has_servers_only() -> None:
    document: Any = (await ask("/openapi.json")).json
    schema = document["paths"]["/api/v1/servers"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = await _ask("/api/v1/servers")
    assert faults(answer.json, schema, document) == []
    assert {each["name"] for each in answer.json["servers"]} == {"time", "binding", "nat"}
    (time,) = [each for each in answer.json["servers"] if each["name"] == "time"]
    assert (time["type"], time["host"], time["port"], time["state"]) == ("ntp", "time.example.net", 123, "up")
    assert [each["vote"] for each in time["vantages"]] == ["pass"] * 3
    dogdorm = time["dogdorm"]
    assert (dogdorm["tests"], dogdorm["failed"], dogdorm["uptime_s"], dogdorm["uptime_max_s"]) == (
        96,
        1,
        86_400,
        172_800,
    )
    assert dogdorm["score"] == pytest.approx(95 / 96 * 0.75 * 0.853, abs=1e-3)
    (nat,) = [each for each in answer.json["servers"] if each["name"] == "nat"]
    assert (nat["address"], nat["other_address"], nat["over"], nat["dogdorm"]) == (
        "8.8.8.8",
        "8.8.4.4:3479",
        "udp",
        None,
    )


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


async def test_dogdorms_list_counts_tests_and_runs_and_has_our_score() -> None:
    node = _node()
    told = (await ask("/servers", node=node)).json
    ((record,),) = told["NTP"]["IPv4"]["UDP"]
    counted = [record[key] for key in ("test_no", "failed_tests", "uptime", "max_uptime")]
    assert counted == [96, 1, 86_400, 172_800]
    assert record["last_success"] >= 1_700_000_000
    (time,) = (await ask("/api/v1/servers", node=node, query="type=ntp")).json["servers"]
    assert record["score"] == pytest.approx(time["score"]["value"], abs=1e-6)
    assert record["score"] != pytest.approx(time["dogdorm"]["score"], abs=1e-2)


async def test_a_server_of_four_endpoints_is_one_group_of_dogdorms_list() -> None:
    (group,) = (await _ask("/servers")).json["STUN(test_nat)"]["IPv4"]["UDP"]
    endpoints = [("8.8.8.8", 3478), ("8.8.8.8", 3479), ("8.8.4.4", 3478), ("8.8.4.4", 3479)]
    assert [(each["ip"], each["port"]) for each in group] == endpoints
    assert len({each["group_id"] for each in group}) == 1


async def test_who_has_the_list_already_is_told_that_and_sent_nothing() -> None:
    node = _node()
    first = await ask("/servers", node=node)
    tag = first.headers["etag"]
    again = await ask("/servers", node=node, headers=[("if-none-match", tag)])
    assert (again.status, again.body) == (304, b"")
    assert (await ask("/servers", node=node, headers=[("if-none-match", '"0"')])).status == 200


async def test_a_later_ranking_that_says_the_same_is_not_sent_again_and_one_that_says_something_else_is(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVERS_RANKED_AGAIN_MS", 10_000)  # all vantages are still heard then
    node = _node()

    async def asked(tag: str = "") -> Answer:
        return await ask("/servers", node=node, headers=[("if-none-match", tag)])

    first = await asked()
    mock_clock.jump(10)
    again = await asked()
    assert again.json["timestamp"] > first.json["timestamp"], "it was ranked again"
    tag = first.headers["etag"]
    for said in (tag, tag.removeprefix("W/"), f'"0", {tag}', "*"):
        assert (await asked(said)).status == 304, said
    node.records = {}
    mock_clock.jump(10)
    assert (await asked(tag)).status == 200


async def test_scores_stand_still_within_an_hour_in_which_nothing_is_recorded(mock_clock: MockClock) -> None:
    node, asked = _node(), list[int]()

    async def records(now_ms: int) -> Records:
        await trio.lowlevel.checkpoint()
        asked.append(now_ms)
        return {}

    ranking = Ranking(node.view, records, node.clock)
    for _ in range(60):
        await ranking.ranked()
        mock_clock.jump(limits.SERVERS_RANKED_AGAIN_MS / 1_000)
    assert len(asked) == 60
    assert len(set(asked)) == 2, "an hour that began within these, and the one before"
    assert all(each % HOUR_MS == 0 for each in asked)
