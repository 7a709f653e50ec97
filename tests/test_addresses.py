"""Addresses in one text: in one order, within the bound of the log, and another one whenever one of them is."""

import pytest

from demesh.addresses import first_of, joined
from demesh.limits import NAME_CHARS_MAX

LONG = [f"2001:db8:1111:2222:3333:4444:5555:{n:x}" for n in range(0x1000, 0x1008)]


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        (["192.0.2.10"], "192.0.2.10"),
        (["2001:db8::1", "192.0.2.10", "192.0.2.9", "192.0.2.10"], "192.0.2.9,192.0.2.10,2001:db8::1"),
        ([f"192.168.100.{n}" for n in (104, 103, 102, 101)], ",".join(f"192.168.100.{n}" for n in range(101, 105))),
        (["fe80::1%eth0", "fe80::1%eth1"], "fe80::1%eth0,fe80::1%eth1"),
    ],
)
def test_equal_sets_give_one_text(addresses: list[str], text: str) -> None:
    assert joined(addresses) == joined(reversed(addresses)) == text
    assert first_of(text) == text.split(",")[0]


def test_what_is_too_long_names_the_first_and_still_tells_another_set_apart() -> None:
    text = joined(LONG)
    assert text.startswith(f"{LONG[0]},+7 (")
    assert len(text) <= NAME_CHARS_MAX
    assert first_of(text) == LONG[0]
    assert joined([*LONG[:-1], "2001:db8::ffff"]) != text


def test_as_many_are_named_as_there_is_room_for() -> None:
    text = joined([f"192.168.100.{n}" for n in range(100, 108)])
    assert text.startswith("192.168.100.100,192.168.100.101,192.168.100.102,+5 (")
    assert len(text) <= NAME_CHARS_MAX


def test_no_address_has_no_first_one() -> None:
    assert (first_of(None), first_of("")) == (None, "")
