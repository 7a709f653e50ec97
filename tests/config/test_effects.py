"""Every table of the main file at once: what it says is what a node is told."""

from pathlib import Path

from demesh.config.tables import ConfigFile
from demesh.log.decision import Maintenance
from demesh.log.matcher import Matcher
from tests.config.files import settings

_ID = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust"
_CHECK = '[[check]]\nname = "a"\ntarget = "https://a"\n'
_WHOLE = f"""
[node]
name = "nas"
tags = ["a"]
flush_interval = "10s"
[mesh]
peers = ["a:1"]
listen = ["a:1"]
advertise = ["a:1"]
swarm_key_file = "k"
trust = "listed"
members = {{ a = "{_ID}" }}
deny = []
adopt_checks = ["a"]
allow_requests = "any"
operators = ["nas"]
[[notify]]
url = "ntfy://a"
[alerts]
alertmanager = "http://a"
labels = {{ a = "b" }}
watchdog = true
[api]
listen = "127.0.0.1:1"
public_listen = "[::]:8480"
public_checks = ["a", "*"]
[store]
raw_days = 10
hour_days = 20
size_max = "1GB"
[defaults]
interval = "1m"
[[server_list]]
file = "a.csv"
[[maintenance]]
name = "weekly"
when = "Sun 01:00-02:00"
nodes = "nas"
matchers = ["severity!=critical"]
"""


def test_what_the_file_says_is_what_the_node_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("type,host,port,transport,family,user,password_file,note\n")
    found = settings(tmp_path, _WHOLE + _CHECK + "enabled = false\nspread = 2")
    assert (found.api, found.public_listen, found.public_checks) == (("127.0.0.1", 1), ("::", 8480), {"a", "*"})
    weekly = Maintenance(
        "weekly", "Sun 01:00-02:00", matchers=(Matcher("severity", "!=", "critical"),), nodes=("nas",), configured=True
    )
    assert (found.maintenance, found.operators, found.watchdog) == ((weekly,), {"nas"}, True)
    assert (found.raw_ms, found.hour_ms, found.size_max_bytes) == (10 * 86_400_000, 20 * 86_400_000, 10**9)


def test_every_table_of_the_main_file_is_there() -> None:
    said = _WHOLE + _CHECK
    assert [name for name in ConfigFile.model_fields if f"[{name}]" not in said] == []
