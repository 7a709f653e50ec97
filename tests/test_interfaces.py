"""Which of this machine's addresses are worth telling others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ifaddr
import pytest

from demesh.interfaces import OwnAddress, dialable, this_machines_addresses


def _adapter(name: str, *ips: str | tuple[str, int, int]) -> Any:
    return SimpleNamespace(name=name, ips=[SimpleNamespace(ip=ip, network_prefix=24) for ip in ips])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a card, docker0, a bridge that has a card, and a tunnel."""
    (tmp_path / "docker0/bridge").mkdir(parents=True)
    (tmp_path / "docker0/brif/veth1").mkdir(parents=True)
    (tmp_path / "br0/bridge").mkdir(parents=True)
    (tmp_path / "br0/brif/eth1/device").mkdir(parents=True)
    (tmp_path / "eth0").mkdir()
    adapters = [
        _adapter("lo", "127.0.0.1", ("::1", 0, 0)),
        _adapter("eth0", "192.0.2.2", ("fe80::1", 0, 2), ("2001:db8::2", 0, 0)),
        _adapter("docker0", "172.17.0.1"),
        _adapter("br0", "198.51.100.2"),
        _adapter("wg0", "10.9.0.1"),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    return tmp_path


def test_loopback_links_and_bridges_without_a_card_are_left_out(machine: Path) -> None:
    assert this_machines_addresses(machine) == [
        OwnAddress("192.0.2.2", "192.0.2.0/24", "eth0"),
        OwnAddress("2001:db8::2", "2001:d00::/24", "eth0"),
        OwnAddress("198.51.100.2", "198.51.100.0/24", "br0"),
        OwnAddress("10.9.0.1", "10.9.0.0/24", "wg0"),
    ]


def test_a_wildcard_is_every_address_of_its_kind_and_loopback_is_none(machine: Path) -> None:
    own = this_machines_addresses(machine)
    assert dialable(["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/2"], own) == [
        "/ip4/192.0.2.2/tcp/1",
        "/ip4/198.51.100.2/tcp/1",
        "/ip4/10.9.0.1/tcp/1",
        "/ip6/2001:db8::2/tcp/2",
    ]
    assert dialable(["/ip4/127.0.0.1/tcp/1", "/ip4/10.9.0.1/tcp/1"], own) == ["/ip4/10.9.0.1/tcp/1"]


def test_this_machine_has_addresses_that_can_be_looked_at() -> None:
    assert all(each.host and "/" in each.network for each in this_machines_addresses())
