"""What is understood and not acted on is said, each key by itself; what is acted on is not."""

from pathlib import Path

import pytest

from demesh.config.tables import ConfigFile
from demesh.log.decision import Maintenance
from demesh.log.matcher import Matcher
from tests.config.files import settings

_ID = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust"
_CHECK = '[[check]]\nname = "a"\ntarget = "https://a"\n'

_LATER = {
    'api.public_listen = "0.0.0.0:1"': "api.public_listen",
}


@pytest.mark.parametrize(("text", "place"), _LATER.items())
def test_a_key_that_has_no_effect_yet_is_named(text: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (said,) = settings(tmp_path, text).not_yet
    assert said.startswith(f"{tmp_path}/demesh.toml:")
    assert f": {place}: has no effect yet: " in said


_NOW = f"""
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


def test_what_has_an_effect_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("type,host,port,transport,family,user,password_file,note\n")
    found = settings(tmp_path, _NOW + _CHECK + "enabled = false\nspread = 2")
    assert found.not_yet == ()
    weekly = Maintenance(
        "weekly", "Sun 01:00-02:00", matchers=(Matcher("severity", "!=", "critical"),), nodes=("nas",), configured=True
    )
    assert (found.maintenance, found.operators, found.watchdog) == ((weekly,), {"nas"}, True)
    assert (found.raw_ms, found.hour_ms, found.size_max_bytes) == (10 * 86_400_000, 20 * 86_400_000, 10**9)


def test_every_table_of_the_main_file_is_in_one_of_these_lists() -> None:
    said = _NOW + _CHECK + "".join(_LATER)
    assert [name for name in ConfigFile.model_fields if f"[{name}]" not in said] == []
