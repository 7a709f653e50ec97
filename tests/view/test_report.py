"""The shape that scripts and pages build on."""

import json
from typing import Any

import pytest

from demesh import limits
from demesh.identity import peer_id
from demesh.log.entry import Kind
from demesh.log.event import warning
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.sums import HOUR_MS
from demesh.view.fold import View
from demesh.view.hours import Hours
from demesh.view.report import heads, iso, status
from demesh.view.uptime import Past, Uptime
from tests.view.build import FAIL, NEXT_MS, OWN, PASS, WALL_MS, MemberLog, deliver, new_view, result, row

_DATE = "2023-11-14T22:13:20Z"  # WALL_MS


def _mesh_of_two(**of_peer: Any) -> tuple[View, MemberLog, MemberLog]:
    """This node and a peer, both heard at 0 with a plan of one check."""
    view, own, peer = new_view(), MemberLog(OWN.name), MemberLog("peer", **of_peer)
    for author in (own, peer):
        deliver(view, author, author.start(0, row(labels=(("team", "ops"),))), 0)
    return view, own, peer


_HOURS = Hours(WALL_MS - WALL_MS % HOUR_MS, (None, 0.25, 1), (0, 0.5, 1))
_PAST = {"web": Past({"24h": Uptime(0.99965281, 0.5)}, {"p50": 12.34}, _HOURS)}


def _status(view: View, now_ms: int) -> dict[str, Any]:
    answer = status(view, _PAST, 17, "0a1b2c3d", OWN.key, now_ms, WALL_MS + now_ms)
    return json.loads(json.dumps(answer))


def test_the_answer_has_exactly_these_keys_and_values() -> None:
    view, own, peer = _mesh_of_two()
    deliver(view, own, own.hello(0, tags=("eu", "nas"), addresses=("/ip4/192.0.2.7/tcp/8471",)), 0)
    deliver(view, own, own.results(0, result(PASS, 0, certificate_expires_s=WALL_MS // 1_000, address="192.0.2.1")), 0)
    deliver(view, peer, peer.entry(Kind.EVENT, warning("retention", "full").payload(), 0), 0)
    assert _status(view, 1_000) == {
        "mesh": "0a1b2c3d",
        "node": "own",
        "as_of": "2023-11-14T22:13:21Z",
        "settled": False,
        "history": {"behind": 17, "complete": True},
        "checks": [
            {
                "name": "web",
                "target": "https://web.example.net/",
                "type": "http",
                "state": "up",
                "since": _DATE,
                "severity": "critical",
                "interval_ms": 60_000,
                "spread": None,
                "depends_on": [],
                "runbook": None,
                "notify": True,
                "certificate_expires_at": _DATE,
                "uptime": {
                    "1h": {"ratio": None, "coverage": 0.0},
                    "24h": {"ratio": 0.999653, "coverage": 0.5},
                    "7d": {"ratio": None, "coverage": 0.0},
                    "30d": {"ratio": None, "coverage": 0.0},
                    "365d": {"ratio": None, "coverage": 0.0},
                },
                "latency_ms": {"p50": 12.3},
                "hours": {"from": "2023-11-14T22:00:00Z", "up_ratio": [None, 0.25, 1], "coverage": [0, 0.5, 1]},
                "quorum": 2,
                "vantages": [
                    {
                        "node": "own",
                        "vote": "pass",
                        "assigned": True,
                        "excluded": None,
                        "stalled": False,
                        "outcome": "pass",
                        "detail": "",
                        "latency_ms": 12.3,
                        "address": "192.0.2.1",
                        "from": None,
                        "at": _DATE,
                    },
                    {
                        "node": "peer",
                        "vote": "unseen",
                        "assigned": True,
                        "excluded": None,
                        "stalled": False,
                        "outcome": None,
                        "detail": "",
                        "latency_ms": None,
                        "address": None,
                        "from": None,
                        "at": None,
                    },
                ],
            }
        ],
        "nodes": [
            {
                "name": "own",
                "peer_id": peer_id(own.key),
                "presence": "alive",
                "seen_at": _DATE,
                "roaming": False,
                "bye": None,
                "back_by": None,
                "broken": None,
                "version": "1.2.3",
                "tags": ["eu", "nas"],
                "addresses": ["/ip4/192.0.2.7/tcp/8471"],
                "warnings": [],
            },
            {
                "name": "peer",
                "peer_id": peer_id(peer.key),
                "presence": "alive",
                "seen_at": _DATE,
                "roaming": False,
                "bye": None,
                "back_by": None,
                "broken": None,
                "version": "1.2.3",
                "tags": [],
                "addresses": [],
                "warnings": [{"at": _DATE, "subject": "retention", "text": "full"}],
            },
        ],
    }


@pytest.mark.parametrize("missed", [0, 1e-11, 1e-7, 0.25])
def test_what_was_not_always_up_or_not_wholly_observed_is_never_told_as_1(missed: float) -> None:
    view, _, _ = _mesh_of_two()
    past = {"web": Past({"365d": Uptime(1 - missed, 1 - missed)})}
    (check,) = status(view, past, 0, "0a1b2c3d", OWN.key, 0, WALL_MS)["checks"]
    for told in check["uptime"]["365d"].values():
        assert (told == 1) == (missed == 0)
        assert told == pytest.approx(1 - missed, abs=1e-6)


def test_a_failure_is_told_with_its_outcome_and_detail() -> None:
    view, own, peer = _mesh_of_two()
    for author in (own, peer):
        deliver(view, author, author.outcomes(0, FAIL, FAIL), 0)
    (check,) = _status(view, 0)["checks"]
    assert (check["state"], check["since"], check["certificate_expires_at"]) == ("down", _DATE, None)
    assert [(each["vote"], each["outcome"], each["detail"]) for each in check["vantages"]] == [
        ("fail", "fail", "said fail"),
        ("fail", "fail", "said fail"),
    ]


@pytest.mark.parametrize("over", [0, 1])
def test_with_much_to_fold_uptime_is_not_complete(over: int) -> None:
    behind = limits.HISTORY_BEHIND_MAX + over
    answer = status(new_view(), {}, behind, "0a1b2c3d", OWN.key, 0, WALL_MS)
    assert answer["history"] == {"behind": behind, "complete": not over}


def test_members_that_share_a_name_are_told_apart() -> None:
    view, own, peer = _mesh_of_two()
    deliver(view, peer, peer.hello(0, name="own"), 0)
    answer = _status(view, 0)
    names = {f"own~{peer_id(author.key)[-6:]}" for author in (own, peer)}
    assert {node["name"] for node in answer["nodes"]} == names
    assert {each["node"] for each in answer["checks"][0]["vantages"]} == names
    assert answer["node"] == f"own~{peer_id(own.key)[-6:]}"


def test_before_its_first_entry_this_node_has_no_name() -> None:
    answer = _status(new_view(), 0)
    assert (answer["node"], answer["checks"], answer["nodes"], answer["settled"]) == (None, [], [], True)


def test_a_living_member_is_dated_by_our_own_clock_and_a_silent_one_by_its_own() -> None:
    view, _, peer = _mesh_of_two(skew_ms=3_600_000)
    deliver(view, peer, peer.results(10_000), 10_000)
    assert _status(view, 10_000)["nodes"][1]["seen_at"] == "2023-11-14T22:13:30Z"
    assert _status(view, 10_000 + NEXT_MS + 10_001)["nodes"][1]["seen_at"] == "2023-11-14T23:13:30Z"


@pytest.mark.parametrize("skew_ms", [-WALL_MS, 2**53 - 1 - WALL_MS - 1_000_000, 252_000_000_000_000], ids=str)
def test_an_absurd_wall_clock_crashes_nothing(skew_ms: int) -> None:
    view, own, peer = _mesh_of_two(skew_ms=skew_ms)
    deliver(view, peer, peer.results(20_000, result(FAIL, 0, certificate_expires_s=2**53 - 1), result(FAIL, 1)), 20_000)
    deliver(view, own, own.outcomes(20_000, PASS), 20_000)
    for now_ms in (20_000, 10_000_000):
        answer = _status(view, now_ms)
        assert len(answer["nodes"]) == 2


@pytest.mark.parametrize(
    ("wall_ms", "text"),
    [
        (None, None),
        (-1, None),
        (0, "1970-01-01T00:00:00Z"),
        (WALL_MS + 999, _DATE),
        (253_402_300_799_999, "9999-12-31T23:59:59Z"),
        (253_402_300_800_000, None),
        (2**53 - 1, None),
    ],
)
def test_times_are_iso_8601_in_utc_or_nothing(wall_ms: int | None, text: str | None) -> None:
    assert iso(wall_ms) == text


def test_heads_name_every_log_with_its_member_and_newest_entry() -> None:
    view, own, _ = _mesh_of_two()
    states = [LogState(own.log, own.key, Head(7, b"h" * 32)), LogState(b"?" * 16, b"k" * 32, Head(0, b"i" * 32))]
    assert heads(view, states) == [
        {
            "log": own.log.hex(),
            "node": "own",
            "peer_id": peer_id(own.key),
            "seq": 7,
            "hash": (b"h" * 32).hex(),
            "forked_at": None,
        },
        {
            "log": "3f" * 16,
            "node": None,
            "peer_id": peer_id(b"k" * 32),
            "seq": 0,
            "hash": (b"i" * 32).hex(),
            "forked_at": None,
        },
    ]
