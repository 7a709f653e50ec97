"""The ping probe between real network stacks, as every kind of user: two namespaces joined by a cable."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from demesh.limits import DETAIL_BYTES_MAX, PING_PAYLOAD_BYTES_MAX
from demesh.probes.rights import REMEDY
from tests.e2e.harness import cannot_run, eventually, require

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
NOBODY = 65534
EVERYBODY, NO_GROUP = "0 2147483647", "1 0"
CABLE = """\
link add near type veth peer name far netns {far}
addr add 10.77.0.1/24 dev near
addr add fd77::1/64 dev near nodad
link set lo up
link set near up
route add 10.88.0.0/16 via 10.77.0.2
route add 10.99.0.0/16 via 10.77.0.2 hoplimit 1
route add fd88::/64 via fd77::2
route add prohibit 10.66.0.0/16
"""
BEYOND = """\
addr add 10.77.0.2/24 dev far
addr add fd77::2/64 dev far nodad
link set lo up
link set far up
route add unreachable 10.88.1.0/24
route add prohibit 10.88.2.0/24
route add 10.99.0.0/16 dev far
route add unreachable fd88::/64
"""


class Machine:
    """A network namespace whose groups may ping or not, with a neighbour at 10.77.0.2 and fd77::2."""

    def __init__(self, near: str) -> None:
        self._near = near

    def ping(self, *pings: dict[str, Any], uid: int = 0, groups: str = NO_GROUP, **orders: Any) -> dict[str, Any]:
        names = {"both.test": ["10.77.0.9", "fd77::2"], "none.test": ["10.77.0.2"]}
        _run("ip", "netns", "exec", self._near, "sysctl", "-qw", f"net.ipv4.ping_group_range={groups}")
        silent = int("respond" in orders)
        _run("ip", "netns", "exec", self._near, "sysctl", "-qw", f"net.ipv4.icmp_echo_ignore_all={silent}")
        told = json.dumps({"pings": pings, "uid": uid, "names": names, **orders})
        return json.loads(
            _run("ip", "netns", "exec", self._near, sys.executable, "-m", "tests.probes.ping_child", told)
        )

    def ping_one(self, target: str, uid: int = 0, groups: str = NO_GROUP, **more: Any) -> dict[str, Any]:
        return self.ping({"target": target, **more}, uid=uid, groups=groups)["results"][0]


def _run(*command: str) -> str:
    root = Path(__file__).parents[2]
    return subprocess.run(command, check=True, timeout=30, stdout=subprocess.PIPE, text=True, cwd=root).stdout


@pytest.fixture(scope="module")
def machine() -> Generator[Machine]:
    require("ip")
    if os.geteuid() != 0:
        cannot_run("network namespaces need root")
    near, far = f"demesh-near-{os.getpid()}", f"demesh-far-{os.getpid()}"
    _run("ip", "netns", "add", near)
    try:
        _run("ip", "netns", "add", far)
        for namespace, end, lines in ((near, "near", CABLE), (far, "far", BEYOND)):
            for line in lines.format(far=far).splitlines():
                _run("ip", "-n", namespace, *line.split())
            for setting in (
                "ipv4.ip_forward=1",
                "ipv6.conf.all.forwarding=1",
                "ipv4.icmp_ratemask=0",
                "ipv4.conf.all.send_redirects=0",
                f"ipv4.conf.{end}.send_redirects=0",
                "ipv6.icmp.ratelimit=0",
            ):
                _run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.{setting}")
        machine = Machine(near)
        for target in ("ping://10.77.0.2", "ping://[fd77::2]"):
            up = f"the cable carries {target}"
            eventually(lambda to=target: machine.ping_one(to), lambda result: result["outcome"] == "PASS", 15, up)
        yield machine
    finally:
        subprocess.run(["ip", "netns", "del", near], check=False)
        subprocess.run(["ip", "netns", "del", far], check=False, stderr=subprocess.DEVNULL)


WAYS = pytest.mark.parametrize(
    ("uid", "groups", "way"),
    [(NOBODY, EVERYBODY, "datagram"), (0, EVERYBODY, "datagram"), (0, NO_GROUP, "raw")],
)


@WAYS
def test_both_families_are_pinged_whatever_the_right(machine: Machine, uid: int, groups: str, way: str):
    targets = ["ping://10.77.0.2", "ping://[fd77::2]", "ping://127.0.0.1", "ping://[::1]"]
    answer = machine.ping(*({"target": target} for target in targets), uid=uid, groups=groups)
    for result, address in zip(answer["results"], ["10.77.0.2", "fd77::2", "127.0.0.1", "::1"], strict=True):
        assert (result["outcome"], result["detail"], result["address"]) == ("PASS", "", address)
        assert 0 < result["latency_us"] < 500_000
    assert answer["rights"] == {version: {"way": way, "reason": ""} for version in ("4", "6")}


def test_without_a_right_it_is_an_error_that_names_the_remedy(machine: Machine):
    answer = machine.ping({"target": "ping://127.0.0.1"}, {"target": "ping://[::1]"}, uid=NOBODY, groups=NO_GROUP)
    for result in answer["results"]:
        assert (result["outcome"], result["detail"]) == ("ERROR", f"this node is not allowed to ping: {REMEDY}")
        assert len(result["detail"].encode()) <= DETAIL_BYTES_MAX
    reason = {"way": "none", "reason": f"this node is not allowed to ping: {REMEDY}"}
    assert answer["rights"] == {"4": reason, "6": reason}


def test_the_remedy_is_one(machine: Machine):
    setting = REMEDY.partition("sysctl ")[2].partition(",")[0].replace('"', "")
    assert setting.startswith("net.ipv4.ping_group_range=")
    assert machine.ping_one("ping://127.0.0.1", NOBODY, setting.partition("=")[2])["outcome"] == "PASS"


@WAYS
def test_a_refusal_names_who_said_so(machine: Machine, uid: int, groups: str, way: str):
    said = {
        "ping://10.88.1.1": "host unreachable, says 10.77.0.2",
        "ping://10.99.0.1": "hop limit reached, says 10.77.0.2",
        "ping://[fd88::1]": "network unreachable, says fd77::2",
    }
    # Few packets: after five errors of the first kind Linux tells one host of one a second at most.
    answer = machine.ping(*({"target": target} for target in said), uid=uid, groups=groups)
    for result, sentence in zip(answer["results"], said.values(), strict=True):
        assert (result["outcome"], result["detail"], result["latency_us"]) == ("FAIL", sentence, None)


def test_a_prohibition_names_who_said_so(machine: Machine):
    result = machine.ping_one("ping://10.88.2.1")
    assert (result["outcome"], result["detail"]) == ("FAIL", "prohibited by a filter, says 10.77.0.2")


def test_refusals_of_all_packets_end_the_wait(machine: Machine):
    result = machine.ping_one("ping://10.99.0.1", packets=3, timeout_ms=20_000)
    assert (result["outcome"], result["detail"]) == ("FAIL", "hop limit reached, says 10.77.0.2")


@WAYS
def test_what_this_node_lacks_is_an_error(machine: Machine, uid: int, groups: str, way: str):
    lacks = {
        "ping://198.51.100.1": "no network: this node has no route to the address",
        "ping://[2001:db8::1]": "no network: this node has no route to the address",
        "ping://10.66.0.1": "this node is not allowed to connect to the address",
        "ping://[fe80::1%nosuch]": "no network: this node has no such interface",
    }
    answer = machine.ping(*({"target": target} for target in lacks), uid=uid, groups=groups)
    assert [(result["outcome"], result["detail"]) for result in answer["results"]] == [
        ("ERROR", sentence) for sentence in lacks.values()
    ]


@WAYS
@pytest.mark.parametrize(
    ("manner", "outcome", "detail"),
    [
        ("properly", "PASS", ""),
        ("twice", "PASS", ""),
        ("odd ones", "PASS", "2 of 4 packets lost"),
        ("other payload", "TIMEOUT", "no answer to any of 4 packets within 600 ms"),
        ("shorter", "TIMEOUT", "no answer to any of 4 packets within 600 ms"),
        ("from elsewhere", "TIMEOUT", "no answer to any of 4 packets within 600 ms"),
        ("not at all", "TIMEOUT", "no answer to any of 4 packets within 600 ms"),
    ],
)
def test_only_echoes_of_what_was_sent_count(
    machine: Machine, uid: int, groups: str, way: str, manner: str, outcome: str, detail: str
):
    orders = {"target": "ping://127.0.0.1", "packets": 4, "timeout_ms": 2_000 if outcome == "PASS" else 600}
    if manner == "not at all":
        answer = machine.ping(orders | {"target": "ping://127.0.0.3"}, uid=uid, groups=groups, respond="from elsewhere")
    else:
        answer = machine.ping(orders, uid=uid, groups=groups, respond=manner)
    result = answer["results"][0]
    assert (result["outcome"], result["detail"]) == (outcome, detail)
    if outcome == "PASS":
        assert result["phases_us"]["rtt_min"] <= result["latency_us"] <= result["phases_us"]["rtt_max"]
    if manner == "twice":
        assert result["phases_us"]["rtt_max"] < 300_000, "the first of two answers is the one that counts"


@WAYS
def test_the_kernel_times_the_answer_however_busy_the_node_is(machine: Machine, uid: int, groups: str, way: str):
    answer = machine.ping({"target": "ping://10.77.0.2", "packets": 3}, uid=uid, groups=groups, hog=True)
    assert answer["results"][0]["outcome"] == "PASS"
    assert answer["results"][0]["latency_us"] < 40_000


def test_a_slow_answer_is_a_mismatch(machine: Machine):
    result = machine.ping_one("ping://127.0.0.1", response_time_ms=0)
    assert (result["outcome"], result["detail"]) == ("MISMATCH", "response took 1 ms, expected at most 0 ms")


def test_a_name_is_looked_up_and_the_other_family_tried(machine: Machine):
    result = machine.ping_one("ping://both.test", timeout_ms=1000)
    assert (result["outcome"], result["address"]) == ("PASS", "fd77::2")
    assert result["phases_us"]["dns"] > 0
    assert result["latency_us"] < 400_000, "the name's lookup and the first address are not part of the round trip"
    lacking = machine.ping_one("ping://none.test", ip_version=6)
    assert (lacking["outcome"], lacking["detail"]) == ("FAIL", "the host name has no IPv6 address")


@WAYS
def test_payloads_of_every_size_come_back(machine: Machine, uid: int, groups: str, way: str):
    sizes = (8, 9, 1472, 1473, PING_PAYLOAD_BYTES_MAX)
    pings = [
        {"target": host, "payload_bytes": size} for size in sizes for host in ("ping://10.77.0.2", "ping://[fd77::2]")
    ]
    answer = machine.ping(*pings, uid=uid, groups=groups)
    assert [result["outcome"] for result in answer["results"]] == ["PASS"] * len(pings)
