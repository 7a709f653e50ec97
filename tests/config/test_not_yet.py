"""What is understood and not acted on is said, each key by itself; what is acted on is not."""

from pathlib import Path

import pytest

from demesh.config.tables import ConfigFile
from tests.config.files import settings

_ID = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust"
_CHECK = '[[check]]\nname = "a"\ntarget = "https://a"\n'

_LATER = {
    "alerts.watchdog = true": "alerts.watchdog",
    'api.public_listen = "0.0.0.0:1"': "api.public_listen",
    '[[maintenance]]\nname = "a"\nwhen = "daily 01:00-02:00"': "maintenance[1]",
    '[[server_list]]\nfile = "a.csv"': "server_list[1]",
    _CHECK + 'runbook = "https://a"': "check[1].runbook",
    _CHECK + '[[check]]\nname = "b"\ntarget = "https://b"\ndepends_on = ["a"]': "check[2].depends_on",
    _CHECK.replace("https:", "stun:"): "check[1]",
    _CHECK.replace("https:", "turns:") + "relay = true": "check[1]",
    _CHECK.replace("https:", "mqtts:"): "check[1]",
    _CHECK.replace("https:", "ntp:"): "check[1]",
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
[[notify]]
url = "ntfy://a"
[alerts]
alertmanager = "http://a"
labels = {{ a = "b" }}
watchdog = false
[api]
listen = "127.0.0.1:1"
[store]
raw_days = 10
hour_days = 20
size_max = "1GB"
[defaults]
interval = "1m"
"""


def test_what_has_an_effect_is_not(tmp_path: Path) -> None:
    found = settings(tmp_path, _NOW + _CHECK + "enabled = false\nspread = 2")
    assert found.not_yet == ()
    assert (found.raw_ms, found.hour_ms, found.size_max_bytes) == (10 * 86_400_000, 20 * 86_400_000, 10**9)


def test_every_table_of_the_main_file_is_in_one_of_these_lists() -> None:
    said = _NOW + "".join(_LATER)
    assert [name for name in ConfigFile.model_fields if f"[{name}]" not in said] == []
