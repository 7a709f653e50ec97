"""Which addresses are in networks of their own."""

import pytest

from demesh.view.networks import family_of, is_near, network_of


@pytest.mark.parametrize(
    ("address", "network", "family"),
    [
        ("192.0.2.77", "192.0.2.0/24", 4),
        ("2001:db8:1:2::9", "2001:db8:1::/48", 6),
        ("192.0.2.77,198.51.100.1,2001:db8::1", "192.0.2.0/24", 4),
        ("2001:db8:1:2::9,+7 (12ab)", "2001:db8:1::/48", 6),
        ("fe80::1%eth0", "fe80::/48", 6),
        ("127.0.0.1", None, 4),
        ("::1", None, 6),
        ("", None, None),
        (None, None, None),
        ("example.org", None, 4),
    ],
)
def test_networks(address: str | None, network: str | None, family: int | None) -> None:
    assert network_of(address) == network
    assert family_of(address) == family


def test_of_several_addresses_the_first_tells_whether_they_are_near() -> None:
    assert is_near("192.168.1.1,198.51.100.1")
    assert not is_near("192.0.2.1,2001:db8::1")
